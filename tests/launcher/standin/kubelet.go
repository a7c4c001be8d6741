// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	guestsDir = "/var/lib/lab/guests"
	logDir    = "/var/log/lab"
	pidsDir   = "/run/lab/pods" // gone with a reboot, as containers are
)

// Kubelet runs the containers of this node's pods.
type Kubelet struct {
	kube       *Kube
	pods       *Store
	queue      *Queue
	mutex      sync.Mutex
	containers map[string]*container // by namespace/name of the pod
	endedAt    map[string]time.Time  // by uid: pods whose folders are still kept
}

type container struct {
	uid        string
	pid        int
	ended      bool
	exit       int
	terminated time.Time // when SIGTERM was sent
}

func newKubelet(kube *Kube) *Kubelet {
	k := &Kubelet{kube: kube, containers: map[string]*container{}, endedAt: map[string]time.Time{}}
	must(os.MkdirAll(pidsDir, 0o700), pidsDir)
	must(os.MkdirAll("/var/lib/kubelet/pods", 0o750), "kubelet")
	k.queue = newQueue(k.sync)
	k.pods = kube.watch("/api/v1/pods", "spec.nodeName="+nodeName,
		func(pod Obj) { k.queue.add(key(pod)) })
	return k
}

func (k *Kubelet) container(key string) *container {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return k.containers[key]
}

func (k *Kubelet) sync(name string) time.Duration {
	pod, c := k.pods.get(name), k.container(name)
	var err error
	switch {
	case c != nil && (pod == nil || c.uid != str(pod, "metadata", "uid")):
		err = k.forget(name, c)
	case pod == nil:
	case ended(pod):
		if left := k.keptFor(str(pod, "metadata", "uid")); left > 0 {
			return left
		}
		err = k.clean(name, pod)
	case c != nil && c.ended:
		err = k.finish(pod, c.exit)
	case c != nil && evicted(pod):
		syscall.Kill(c.pid, syscall.SIGKILL)
	case c != nil && deleting(pod):
		return c.terminate(pod)
	case c != nil && str(pod, "status", "phase") != "Running":
		err = k.tellRunning(pod) // the API server was away when it was started
	case c != nil:
	case deleting(pod):
		err = k.clean(name, pod)
	default:
		err = k.start(name, pod)
	}
	if err != nil && !hasCode(err, 404) {
		log.Printf("pod %s: %v", name, err)
		return 500 * time.Millisecond
	}
	return 0
}

// evicted: the node is short of something, and a test says which pod must go.
func evicted(pod Obj) bool {
	return str(pod, "metadata", "annotations", "standin/evict") != ""
}

// forget ends the container of a pod whose object is gone: that of an ended pod goes at once when
// it is deleted, be it that its folders are still there.
func (k *Kubelet) forget(name string, c *container) error {
	if !c.ended {
		syscall.Kill(c.pid, syscall.SIGKILL)
		return nil // its end is told
	}
	if err := removeFolders(c.uid); err != nil {
		return err
	}
	k.mutex.Lock()
	delete(k.containers, name)
	k.mutex.Unlock()
	k.queue.add(name)
	return nil
}

func removeFolders(uid string) error {
	if err := os.RemoveAll(podDir(uid)); err != nil {
		return err
	}
	os.Remove(pidsDir + "/" + uid)
	return os.RemoveAll(rootfsDir(uid))
}

// keptFor: the kubelet looks after ended pods every other second, not at once.
func (k *Kubelet) keptFor(uid string) time.Duration {
	kept := ms(readSettings().DirsKeptMs)
	if kept == 0 {
		return 0
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.endedAt[uid].IsZero() {
		k.endedAt[uid] = time.Now()
	}
	return time.Until(k.endedAt[uid].Add(kept))
}

// clean removes the folders of a pod that has ended, also while its object remains.
func (k *Kubelet) clean(name string, pod Obj) error {
	uid := str(pod, "metadata", "uid")
	if err := removeFolders(uid); err != nil {
		return err
	}
	k.mutex.Lock()
	delete(k.endedAt, uid)
	k.mutex.Unlock()
	if !deleting(pod) {
		return nil
	}
	k.mutex.Lock()
	delete(k.containers, name)
	k.mutex.Unlock()
	log.Printf("pod %s (%s): removed", name, uid)
	return k.kube.remove(podPath(pod), uid, Obj{"gracePeriodSeconds": 0})
}

func (c *container) terminate(pod Obj) time.Duration {
	grace, _ := at(pod, "metadata", "deletionGracePeriodSeconds").(float64)
	if c.terminated.IsZero() {
		c.terminated = time.Now()
		syscall.Kill(c.pid, syscall.SIGTERM)
	}
	left := time.Until(c.terminated.Add(time.Duration(grace * float64(time.Second))))
	if left <= 0 {
		syscall.Kill(c.pid, syscall.SIGKILL)
		return 0
	}
	return left
}

func (k *Kubelet) setStatus(pod Obj, change func(Obj)) error {
	return k.kube.update(podPath(pod), "/status", str(pod, "metadata", "uid"), func(pod Obj) bool {
		change(pod)
		return true
	})
}

func (k *Kubelet) finish(pod Obj, exit int) error {
	log.Printf("pod %s: container ended with %d", key(pod), exit)
	return k.setStatus(pod, func(pod Obj) {
		phase := "Succeeded"
		if exit != 0 {
			phase = "Failed"
		}
		put(pod, phase, "status", "phase")
		if evicted(pod) {
			put(pod, "Evicted", "status", "reason")
			put(pod, "The node was low on resource: ephemeral-storage.", "status", "message")
		}
		setCondition(pod, "Ready", "False", "PodCompleted", "")
		put(pod, []any{Obj{"name": "compute", "image": "virt-launcher", "imageID": "", "ready": false,
			"restartCount": 0, "state": Obj{"terminated": Obj{"exitCode": exit}}}},
			"status", "containerStatuses")
	})
}

func (k *Kubelet) start(name string, object Obj) error {
	uid := str(object, "metadata", "uid")
	if str(object, "status", "phase") == "Running" {
		return k.adopt(name, object)
	}
	settings := readSettings()
	time.Sleep(ms(settings.PodDirsMs))
	pod := k.describe(object, settings)
	if err := makeDirs(pod); err != nil {
		return err
	}
	log.Printf("pod %s (%s): folders made", name, uid)
	time.Sleep(ms(settings.ContainerStartMs))
	if err := k.run(name, pod); err != nil {
		return err
	}
	return k.tellRunning(object)
}

func (k *Kubelet) tellRunning(pod Obj) error {
	return k.setStatus(pod, func(pod Obj) {
		put(pod, "Running", "status", "phase")
		put(pod, now(), "status", "startTime")
		setCondition(pod, "Ready", "True", "", "")
	})
}

// adopt: the kubelet was restarted; or the node was, and then the container is gone.
func (k *Kubelet) adopt(name string, pod Obj) error {
	uid := str(pod, "metadata", "uid")
	text, _ := os.ReadFile(pidsDir + "/" + uid)
	pid, _ := strconv.Atoi(string(text))
	if pid == 0 || !isMonitor(pid) {
		return k.finish(pod, 137)
	}
	c := k.keep(name, uid, pid)
	go func() {
		for isMonitor(pid) {
			time.Sleep(50 * time.Millisecond)
		}
		k.note(name, c, 137)
	}()
	return nil
}

func isMonitor(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(text), "\x00monitor\x00")
}

func (k *Kubelet) describe(object Obj, settings Settings) Pod {
	pod := Pod{
		UID: str(object, "metadata", "uid"), Namespace: str(object, "metadata", "namespace"),
		Name:     str(object, "metadata", "annotations", "kubevirt.io/domain"),
		VMI:      str(object, "metadata", "labels", "kubevirt.io/created-by"),
		Settings: settings,
	}
	user, _ := at(object, "spec", "securityContext", "runAsUser").(float64)
	pod.Root = user == 0
	for _, volume := range arr(object, "spec", "volumes") {
		if obj(volume, "emptyDir") != nil {
			pod.EmptyDirs = append(pod.EmptyDirs, str(volume, "name"))
		} else if claim := str(volume, "persistentVolumeClaim", "claimName"); claim != "" {
			pod.Volumes = append(pod.Volumes,
				Volume{str(volume, "name"), guestsDir + "/" + pod.Namespace + "." + claim})
		}
	}
	return pod
}

// makeDirs: emptyDirs belong to root and the pod's fsGroup, set-gid and open to all.
func makeDirs(pod Pod) error {
	if pod.Root {
		if err := os.MkdirAll(rootfsDir(pod.UID), 0o755); err != nil {
			return err
		}
	}
	for _, name := range pod.EmptyDirs {
		path := emptyDirPath(pod.UID, name)
		if err := os.MkdirAll(path, 0o750); err != nil {
			return err
		}
		if err := os.Chown(path, 0, qemuID); err != nil {
			return err
		}
		if err := os.Chmod(path, 0o777|os.ModeSetgid); err != nil {
			return err
		}
	}
	return nil
}

func (k *Kubelet) run(name string, pod Pod) error {
	text, _ := json.Marshal(pod)
	output, err := os.OpenFile(logDir+"/pod-"+pod.Name+"-"+pod.UID[:5]+".log",
		os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()
	command := exec.Command(ownProgram(), "pod-init")
	command.Dir = "/"
	command.Stdout, command.Stderr = output, output
	command.Env = []string{"STANDIN_POD=" + string(text), "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/", "GOMAXPROCS=2"}
	if !pod.Root {
		command.Env = append(command.Env, "XDG_CACHE_HOME=/var/run/kubevirt-private",
			"XDG_CONFIG_HOME=/var/run/kubevirt-private", "XDG_RUNTIME_DIR=/var/run")
	}
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS |
		syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS}
	if err := command.Start(); err != nil {
		return err
	}
	pid := command.Process.Pid
	log.Printf("pod %s (%s): container started, pid %d", name, pod.UID, pid)
	if err := os.WriteFile(pidsDir+"/"+pod.UID, []byte(strconv.Itoa(pid)), 0o600); err != nil {
		return err
	}
	c := k.keep(name, pod.UID, pid)
	go func() {
		command.Wait()
		status := command.ProcessState.Sys().(syscall.WaitStatus)
		exit := status.ExitStatus()
		if status.Signaled() {
			exit = 128 + int(status.Signal())
		}
		k.note(name, c, exit)
	}()
	return nil
}

func (k *Kubelet) keep(name, uid string, pid int) *container {
	c := &container{uid: uid, pid: pid}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.containers[name] = c
	return c
}

func (k *Kubelet) note(name string, c *container, exit int) {
	k.mutex.Lock()
	c.ended, c.exit = true, exit
	k.mutex.Unlock()
	k.queue.add(name)
}
