// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	privateDir  = "/var/run/kubevirt-private"
	socketsDir  = "/var/run/kubevirt/sockets"
	libvirtSock = "/var/run/libvirt/virtqemud-sock"
)

// Domain is what the launcher tells virt-handler of its domain, here and by events.
type Domain struct {
	Exists bool
	State  string // as virsh domstate says it
	Reason string
}

func (d Domain) alive() bool {
	return d.Exists && d.State != "shut off" && d.State != "crashed"
}

// Launcher is virt-launcher: one domain of one VMI.
type Launcher struct {
	pod         Pod
	name        string
	uri         string
	pidDir      string // where libvirtd keeps its QEMU's pid
	configDir   string
	modify      sync.Mutex // KubeVirt's domainModifyLock
	telling     sync.Mutex // looking at the domain and telling of it are one: no old news after new
	mutex       sync.Mutex
	paused      bool // only what came through the pause subresource
	last        Domain
	subscribers map[chan Domain]bool
	undefined   chan struct{}
}

func runLauncher() {
	l := &Launcher{pod: podFromEnv(), subscribers: map[chan Domain]bool{},
		undefined: make(chan struct{}, 1)}
	l.name = l.pod.Namespace + "_" + l.pod.Name
	l.uri, l.pidDir = "qemu+unix:///session?socket="+libvirtSock, "/var/run/libvirt/qemu/run"
	l.configDir = privateDir + "/libvirt"
	if l.pod.Root {
		l.uri, l.pidDir = "qemu+unix:///system?socket="+libvirtSock, "/var/run/libvirt/qemu"
		l.configDir = "/etc/libvirt"
	}
	syscall.Umask(0o022)
	if err := os.MkdirAll(privateDir+"/"+l.pod.VMI, 0o755); err != nil {
		log.Fatal(err)
	}
	writeLibvirtConfig(l.configDir, l.pod.Root)
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM)
	go l.runLibvirtd()
	l.waitForLibvirtd()
	go l.followEvents()
	l.serve()
	l.watchProcess(stopped)
}

func waitFor(what string, limit time.Duration, check func() bool) {
	for end := time.Now().Add(limit); !check(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			log.Fatalf("timed out waiting for %s", what)
		}
	}
}

// waitForLibvirtd asks virsh, which costs more than a look, once somebody listens.
func (l *Launcher) waitForLibvirtd() {
	waitFor("libvirtd's socket", time.Minute, func() bool {
		connection, err := net.Dial("unix", libvirtSock)
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
	waitFor("libvirtd", time.Minute, func() bool { return l.virshOK("uri") })
}

// virsh returns what it prints, or an error with what it complains of.
func (l *Launcher) virsh(words ...string) (string, error) {
	command := exec.Command("virsh", append([]string{"-q", "-c", l.uri}, words...)...)
	out, err := command.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("virsh %s: %s", words[0], text)
	}
	return text, nil
}

func (l *Launcher) virshOK(words ...string) bool {
	_, err := l.virsh(words...)
	return err == nil
}

// domain is what libvirt says, or what it said last while it is not there.
func (l *Launcher) domain() Domain {
	text, err := l.virsh("domstate", "--reason", l.name)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if err == nil {
		state, reason, _ := strings.Cut(text, " (")
		l.last = Domain{true, state, strings.TrimSuffix(reason, ")")}
	} else if strings.Contains(err.Error(), "failed to get domain") {
		l.last = Domain{}
	}
	return l.last
}

// followEvents sends the domain as it is at each event. KubeVirt's cache in virt-handler knows no
// more than this.
func (l *Launcher) followEvents() {
	for {
		command := exec.Command("stdbuf", "-oL", "virsh", "-q", "-c", l.uri, "event",
			"--event", "lifecycle", "--loop")
		out, _ := command.StdoutPipe()
		command.Stderr = os.Stderr
		if err := command.Start(); err == nil {
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				log.Print(lines.Text())
				l.notify(strings.Contains(lines.Text(), "Undefined"))
			}
			command.Wait()
		}
		l.waitForLibvirtd()
		l.notify(false)
	}
}

func (l *Launcher) notify(undefined bool) {
	l.telling.Lock()
	defer l.telling.Unlock()
	domain := l.domain()
	if undefined && !domain.Exists {
		select {
		case l.undefined <- struct{}{}:
		default:
		}
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for subscriber := range l.subscribers {
		subscriber <- domain
	}
}

// serve answers virt-handler. The socket gets its final name when all is ready.
func (l *Launcher) serve() {
	listener, err := net.Listen("unix", socketsDir+"/launcher-init-sock")
	if err != nil {
		log.Fatal(err)
	}
	calls := map[string]func(Obj) error{"/sync": l.sync, "/pause": l.pause, "/unpause": l.unpause,
		"/delete": l.delete, "/kill": l.kill, "/shutdown": l.shutdown}
	mux := http.NewServeMux()
	mux.HandleFunc("/events", l.events)
	for path, call := range calls {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			var vmi Obj
			err := json.NewDecoder(r.Body).Decode(&vmi)
			if err == nil {
				err = call(vmi)
			}
			log.Printf("%s: %v", r.URL.Path, err)
			if err != nil {
				http.Error(w, err.Error(), 500)
			}
		})
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	go http.Serve(listener, mux)
	err = os.Rename(socketsDir+"/launcher-init-sock", socketsDir+"/launcher-sock")
	if err != nil {
		log.Fatal(err)
	}
}

func (l *Launcher) subscribe() chan Domain {
	channel := make(chan Domain, 64)
	l.telling.Lock()
	defer l.telling.Unlock()
	channel <- l.domain()
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.subscribers[channel] = true
	return channel
}

func (l *Launcher) events(w http.ResponseWriter, r *http.Request) {
	channel := l.subscribe()
	defer func() {
		l.mutex.Lock()
		delete(l.subscribers, channel)
		l.mutex.Unlock()
	}()
	encoder := json.NewEncoder(w)
	for {
		select {
		case domain := <-channel:
			if encoder.Encode(domain) != nil {
				return
			}
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// sync is SyncVMI: define and create on start, resume whom nobody paused through KubeVirt.
func (l *Launcher) sync(vmi Obj) error {
	l.modify.Lock()
	defer l.modify.Unlock()
	domain := l.domain()
	if !domain.Exists {
		if err := l.define(vmi); err != nil {
			return err
		}
		domain = l.domain()
	}
	phase := str(vmi, "status", "phase")
	if !domain.alive() && phase != "Running" && !final(vmi) {
		return l.create(vmi)
	}
	if domain.State == "paused" && !l.isPaused() {
		_, err := l.virsh("resume", l.name)
		return err
	}
	return nil
}

func (l *Launcher) define(vmi Obj) error {
	path := privateDir + "/" + l.pod.VMI + "/domain.xml"
	if err := os.WriteFile(path, []byte(domainXML(l.pod, vmi)), 0o600); err != nil {
		return err
	}
	_, err := l.virsh("define", path)
	return err
}

func (l *Launcher) create(vmi Obj) error {
	words := []string{"start", l.name}
	if str(vmi, "spec", "startStrategy") == "Paused" {
		words = append(words, "--paused")
		l.setPaused(true)
	}
	_, err := l.virsh(words...)
	if err == nil {
		// libvirt's own event came before the answer; virsh, which tells of it, may be slower
		l.notify(false)
	}
	return err
}

func (l *Launcher) isPaused() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.paused
}

func (l *Launcher) setPaused(paused bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.paused = paused
}

// pause silently does nothing to a domain that doesn't run.
func (l *Launcher) pause(Obj) error {
	l.modify.Lock()
	defer l.modify.Unlock()
	if l.domain().State != "running" {
		return nil
	}
	_, err := l.virsh("suspend", l.name)
	if err == nil {
		l.setPaused(true)
		go l.notify(false) // virsh may just be listening anew, after its libvirtd had died
	}
	return err
}

func (l *Launcher) unpause(Obj) error {
	l.modify.Lock()
	defer l.modify.Unlock()
	if l.domain().State != "paused" {
		return nil
	}
	_, err := l.virsh("resume", l.name)
	if err == nil {
		l.setPaused(false)
		go l.notify(false)
	}
	return err
}

// delete has no MANAGED_SAVE: whatever lies at the managed path blocks it.
func (l *Launcher) delete(Obj) error {
	if !l.domain().Exists {
		return nil
	}
	_, err := l.virsh("undefine", l.name, "--keep-nvram", "--checkpoints-metadata")
	return err
}

func (l *Launcher) kill(Obj) error {
	if !l.domain().alive() {
		return nil
	}
	_, err := l.virsh("destroy", l.name, "--graceful")
	return err
}

func (l *Launcher) shutdown(Obj) error {
	if !l.domain().alive() {
		return nil
	}
	_, err := l.virsh("shutdown", l.name, "--mode", "acpi")
	return err
}

// watchProcess lives as long as QEMU, and a little longer while the domain can't be undefined.
func (l *Launcher) watchProcess(stopped chan os.Signal) {
	settings := l.pod.Settings
	defined := time.Now().Add(ms(settings.QemuTimeoutMs))
	seen := false
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-stopped:
			if !seen {
				os.Exit(0)
			}
			l.shutdown(nil)
		case <-tick.C:
		}
		runs := l.qemuRuns()
		seen = seen || runs
		if seen && !runs {
			l.waitForEnd(settings)
			time.Sleep(ms(settings.ExitLagMs))
			os.Exit(0)
		}
		if !seen && time.Now().After(defined) {
			log.Print("timed out waiting for domain to be defined")
			os.Exit(2)
		}
	}
}

func (l *Launcher) qemuRuns() bool {
	text, err := os.ReadFile(l.pidDir + "/" + l.name + ".pid")
	if err != nil {
		return false
	}
	_, err = os.Stat("/proc/" + strings.TrimSpace(string(text)))
	return err == nil
}

func (l *Launcher) waitForEnd(settings Settings) {
	if !l.domain().Exists {
		return
	}
	select {
	case <-l.undefined:
		return
	case <-time.After(ms(settings.UndefineWaitMs)):
	}
	l.kill(nil)
	select {
	case <-l.undefined:
	case <-time.After(ms(settings.KillWaitMs)):
	}
	log.Print("the domain is still defined, leaving all the same")
}

// runLibvirtd starts it as often as it ends, as virt-launcher does.
func (l *Launcher) runLibvirtd() {
	for {
		command := exec.Command("libvirtd", "--config", l.configDir+"/libvirtd.conf")
		command.Stdout, command.Stderr = os.Stdout, os.Stderr
		os.Remove("/var/run/libvirt/libvirt-sock")
		if err := command.Start(); err != nil {
			log.Fatal(err)
		}
		go nameSocket(command.Process.Pid)
		log.Printf("libvirtd ended: %v", command.Wait())
	}
}

// nameSocket gives the monolithic daemon's socket the name that it has in a pod.
func nameSocket(pid int) {
	for syscall.Kill(pid, 0) == nil {
		if os.Rename("/var/run/libvirt/libvirt-sock", libvirtSock) == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
