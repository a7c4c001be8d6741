// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

const (
	qemuID  = 107
	labView = "/var/lib/lab" // the guest's kernel, and this program, in the container's "image"
)

// Volume is a claim's folder on the node.
type Volume struct{ Name, Path string }

// Pod is all that a container is told when it starts.
type Pod struct {
	UID       string
	Namespace string
	Name      string // of the VMI
	VMI       string // its uid
	Root      bool   // a launcher of the time before non-root ones: qemu:///system
	EmptyDirs []string
	Volumes   []Volume
	Settings  Settings
}

// emptyDirTargets is where the container has each emptyDir; the order is that of mounting.
var emptyDirTargets = []struct{ name, target string }{
	{"private", "/run/kubevirt-private"},
	{"public", "/run/kubevirt"},
	{"sockets", "/run/kubevirt/sockets"},
	{"libvirt-runtime", "/run/libvirt"},
	{"ephemeral-disks", "/run/kubevirt-ephemeral-disks"},
	{"container-disks", "/run/kubevirt/container-disks"},
	{"hotplug-disks", "/run/kubevirt/hotplug-disks"},
	{"private-libvirt", "/run/kubevirt-private/libvirt"},
	{"private-libvirt-qemu", "/run/kubevirt-private/libvirt/qemu"},
}

// emptyDirs of a VMI's pod: two more where there is state to keep.
func emptyDirs(vmi Obj) []string {
	names := []string{}
	for _, dir := range emptyDirTargets[:7] {
		names = append(names, dir.name)
	}
	if persistent, _ := at(vmi, "spec", "domain", "devices", "tpm", "persistent").(bool); persistent {
		names = append(names, emptyDirTargets[7].name, emptyDirTargets[8].name)
	}
	return names
}

func podDir(uid string) string { return "/var/lib/kubelet/pods/" + uid }

func emptyDirPath(uid, name string) string {
	return podDir(uid) + "/volumes/kubernetes.io~empty-dir/" + name
}

// rootfsDir is what the container writes to its own file system, as far as it matters.
func rootfsDir(uid string) string { return standinDir + "/rootfs/" + uid }

func podFromEnv() Pod {
	var pod Pod
	if err := json.Unmarshal([]byte(os.Getenv("STANDIN_POD")), &pod); err != nil {
		log.Fatalf("STANDIN_POD: %v", err)
	}
	return pod
}

func must(err error, what string) {
	if err != nil {
		log.Fatalf("%s: %v", what, err)
	}
}

// mountView gathers what the container may see of the node before the node is covered up.
type mountView struct{ binds []bind }

type bind struct {
	fd     int
	target string
	file   bool
}

func (v *mountView) add(source, target string) {
	const oPath = 0x200000
	fd, err := syscall.Open(source, oPath|syscall.O_CLOEXEC, 0)
	must(err, source)
	info, err := os.Stat(source)
	must(err, source)
	v.binds = append(v.binds, bind{fd, target, !info.IsDir()})
}

func (v *mountView) mount() {
	for _, b := range v.binds {
		if b.file {
			must(os.WriteFile(b.target, nil, 0o644), b.target)
		} else {
			must(os.MkdirAll(b.target, 0o755), b.target)
		}
		source := fmt.Sprintf("/proc/self/fd/%d", b.fd)
		must(syscall.Mount(source, b.target, "", syscall.MS_BIND|syscall.MS_REC, ""), b.target)
		syscall.Close(b.fd)
	}
}

func cover(path, options string) {
	must(syscall.Mount("container", path, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, options), path)
}

func ownProgram() string {
	path, err := os.Executable()
	must(err, "own program")
	return path
}

// podInit makes the container's view of the world, then becomes its PID 1 without privileges.
func podInit() {
	pod := podFromEnv()
	view := &mountView{}
	present := map[string]bool{}
	for _, name := range pod.EmptyDirs {
		present[name] = true
	}
	for _, dir := range emptyDirTargets {
		if present[dir.name] {
			view.add(emptyDirPath(pod.UID, dir.name), dir.target)
		}
	}
	for _, volume := range pod.Volumes {
		view.add(volume.Path, "/run/kubevirt-private/vmi-disks/"+volume.Name)
	}
	view.add("/run/lab", "/run/lab")
	view.add(labView+"/guest-kernel", labView+"/guest-kernel")
	view.add(labView+"/guest-initramfs", labView+"/guest-initramfs")
	view.add(ownProgram(), labView+"/virt-launcher")
	if pod.Root {
		view.add(rootfsDir(pod.UID), "/var/lib/libvirt")
	}
	must(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""), "/")
	must(syscall.Mount("proc", "/proc", "proc", 0, ""), "/proc")
	must(syscall.Mount("sysfs", "/sys", "sysfs", syscall.MS_RDONLY, ""), "/sys")
	cover("/run", "mode=1777")
	for _, path := range []string{labView, "/var/lib/kubelet", "/var/lib/libvirt", "/etc/libvirt",
		"/var/log", "/var/cache"} {
		cover(path, "mode=755")
	}
	cover("/tmp", "mode=1777")
	view.mount()
	bindAccounts()
	if !pod.Root {
		must(syscall.Setgroups([]int{qemuID}), "setgroups")
		must(syscall.Setgid(qemuID), "setgid")
		must(syscall.Setuid(qemuID), "setuid")
	}
	program := labView + "/virt-launcher"
	must(syscall.Exec(program, []string{program, "monitor"}, os.Environ()), program)
}

func bindAccounts() {
	for name, text := range map[string]string{
		"passwd": "root:x:0:0::/root:/bin/sh\nqemu:x:107:107::/:/bin/false\n" +
			"libvirt-qemu:x:64055:64055::/:/bin/false\n",
		"group": "root:x:0:\nqemu:x:107:\nkvm:x:36:\nlibvirt-qemu:x:64055:\n",
	} {
		path := labView + "/" + name
		must(os.WriteFile(path, []byte(text), 0o644), path)
		must(syscall.Mount(path, "/etc/"+name, "", syscall.MS_BIND, ""), name)
	}
}

// monitor is the pod's PID 1. It must reap: a dead QEMU that stays a zombie makes each save last
// until libvirt's kill time-out.
func monitor() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGCHLD)
	launcher := exec.Command(labView+"/virt-launcher", "launcher")
	launcher.Stdout, launcher.Stderr = os.Stdout, os.Stderr
	must(launcher.Start(), "virt-launcher")
	for received := range signals {
		if received == syscall.SIGTERM {
			launcher.Process.Signal(syscall.SIGTERM)
			continue
		}
		for {
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
			if pid == launcher.Process.Pid {
				if status.Signaled() {
					os.Exit(128 + int(status.Signal()))
				}
				os.Exit(status.ExitStatus())
			}
		}
	}
}
