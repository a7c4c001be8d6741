// SPDX-License-Identifier: Apache-2.0

// A stand-in for KubeVirt, as far as suspend and resume of its guests meet it: see the table in
// tests/launcher/README.md for each behaviour and the fact that it models.
//
//	cluster   virt-controller and virt-api
//	node      virt-handler and the kubelet
//	pod-init  root's part of a container's start, in the pod's new namespaces
//	monitor   PID 1 of the pod: reaps
//	launcher  virt-launcher
package main

import (
	"log"
	"os"
)

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	roles := map[string]func(){
		"cluster": runCluster, "node": runNode, "pod-init": podInit, "monitor": monitor,
		"launcher": runLauncher,
	}
	if len(os.Args) != 2 || roles[os.Args[1]] == nil {
		log.Fatal("usage: kubevirt-standin cluster|node")
	}
	roles[os.Args[1]]()
}
