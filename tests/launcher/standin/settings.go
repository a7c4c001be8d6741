// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"log"
	"os"
	"time"
)

const (
	standinDir  = "/var/lib/lab/standin"
	handlerSock = standinDir + "/handler.sock"
	nodeName    = "node-1"
)

// Settings are the delays and variants that a test may set; lab-pod.c writes the file. Each use
// reads them anew, a launcher keeps those of its pod's start.
type Settings struct {
	PodDirsMs        int // from the pod's object to its folders on the node
	ContainerStartMs int // from the folders to the container's first process
	SyncDeadlineMs   int // virt-handler's patience with one SyncVMI
	DeleteInactiveMs int // after Scheduled, until an inactive domain is deleted
	UndefineWaitMs   int // the launcher's wait for the end of its domain once QEMU is gone
	KillWaitMs       int // and after KillVMI
	QemuTimeoutMs    int // until the domain must be defined, and until QEMU must run
	SyncRetryMs      int // first retry after a failed sync, doubled each time up to 64 times
	PausedLagMs      int // from a pause to the VMI's condition
	RunningLagMs     int // from a running domain to the VMI that says so: phase Running, not Paused
	ExitLagMs        int // from the domain's end to that of its launcher
	DirsKeptMs       int // from the container's end to the removal of the pod's folders
	IgnorePins       int // 1: the Wukong's operator does not know highAvailability.nodeSelector
}

func readSettings() Settings {
	settings := Settings{
		ContainerStartMs: 300, SyncDeadlineMs: 20000, DeleteInactiveMs: 300000,
		UndefineWaitMs: 15000, KillWaitMs: 30000, QemuTimeoutMs: 240000, SyncRetryMs: 500,
	}
	text, err := os.ReadFile(standinDir + "/settings.json")
	if err == nil {
		err = json.Unmarshal(text, &settings)
	}
	if err != nil && !os.IsNotExist(err) {
		log.Printf("settings: %v", err)
	}
	return settings
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }
