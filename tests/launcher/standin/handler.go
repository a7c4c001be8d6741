// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Handler is virt-handler: it brings VMIs and their launchers together.
type Handler struct {
	kube  *Kube
	vmis  *Store
	queue *Queue
	mutex sync.Mutex
	seen  map[string]*sighting // by uid of the VMI
}

// sighting is virt-handler's cache of a domain, fed by the launcher's notifications only.
type sighting struct {
	client    *http.Client
	domain    Domain
	connected bool
	gone      bool
	told      bool // an event came: whatever was to be retried later is looked at now
	failures  int
	notBefore time.Time
	killAfter time.Time
	pausedAt  time.Time // of its present pause; zero: it is not paused
	runningAt time.Time // since its domain runs; zero: it does not
}

func runNode() {
	os.Remove(handlerSock)
	kube := newKube()
	newKubelet(kube)
	h := &Handler{kube: kube, seen: map[string]*sighting{}}
	h.queue = newQueue(h.sync)
	h.vmis = kube.watch(group+"/virtualmachineinstances", "",
		func(vmi Obj) { h.queue.add(key(vmi)) })
	listener, err := net.Listen("unix", handlerSock)
	must(err, handlerSock)
	log.Fatal(http.Serve(listener, http.HandlerFunc(h.answer)))
}

// answer passes what virt-api asks for on to the launcher.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request) {
	var vmi Obj
	err := json.NewDecoder(r.Body).Decode(&vmi)
	if err == nil {
		err = call(launcherClient(vmi), r.URL.Path, vmi, 30*time.Second)
	}
	if err != nil {
		http.Error(w, err.Error(), 500)
	}
}

func unixClient(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialUnix(ctx, path)
		},
		DisableKeepAlives: true,
	}}
}

// dialUnix goes through the folder's descriptor: sun_path is too short for a pod's path.
func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	at := strings.LastIndex(path, "/")
	folder, err := os.Open(path[:at])
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), path[at+1:]))
}

func podOf(vmi Obj) string {
	for uid, node := range obj(vmi, "status", "activePods") {
		if node == nodeName {
			return uid
		}
	}
	return ""
}

func launcherClient(vmi Obj) *http.Client {
	return unixClient(emptyDirPath(podOf(vmi), "sockets") + "/launcher-sock")
}

func call(client *http.Client, path string, vmi Obj, limit time.Duration) error {
	text, _ := json.Marshal(vmi)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "POST", "http://launcher"+path,
		bytes.NewReader(text))
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != 200 {
		err = errors.New(strings.TrimSpace(string(text)))
	}
	return err
}

func callHandler(path string, vmi Obj) error {
	return call(unixClient(handlerSock), path, vmi, 30*time.Second)
}

func (h *Handler) sync(name string) time.Duration {
	vmi := h.vmis.get(name)
	if vmi == nil || str(vmi, "status", "nodeName") != nodeName {
		return 0
	}
	s := h.connect(name, vmi)
	domain, known, told := h.domainOf(s)
	if !known {
		return 100 * time.Millisecond
	}
	if !s.gone && looksMigrating(domain) {
		return 0
	}
	again := time.Duration(0)
	if !s.gone {
		again = h.act(vmi, s, domain, told)
	}
	lag, runningLag := s.pausedLag(domain), s.runningLag(domain)
	if err := h.describe(vmi, s, domain, lag, runningLag); err != nil && !hasCode(err, 404) {
		log.Printf("VMI %s: %v", name, err)
		return 500 * time.Millisecond
	}
	for _, wait := range []time.Duration{lag, runningLag} {
		if wait > 0 && (again == 0 || wait < again) {
			again = wait
		}
	}
	return again
}

// pausedLag: how long the condition Paused is still to be kept back.
func (s *sighting) pausedLag(domain Domain) time.Duration {
	if domain.State != "paused" {
		s.pausedAt = time.Time{}
		return 0
	}
	if s.pausedAt.IsZero() {
		s.pausedAt = time.Now()
	}
	return ms(readSettings().PausedLagMs) - time.Since(s.pausedAt)
}

// runningLag: how long the word that it runs is still to be kept back.
func (s *sighting) runningLag(domain Domain) time.Duration {
	if domain.State != "running" {
		s.runningAt = time.Time{}
		return 0
	}
	if s.runningAt.IsZero() {
		s.runningAt = time.Now()
	}
	return ms(readSettings().RunningLagMs) - time.Since(s.runningAt)
}

// looksMigrating: virt-handler takes such a domain for one that comes in by migration and leaves
// its VMI alone; a restored guest that is still paused looks so too.
func looksMigrating(domain Domain) bool {
	return domain.State == "paused" &&
		(domain.Reason == "migrating" || domain.Reason == "starting up")
}

// domainOf: known is false until the launcher has said something or is gone; told: there is news.
func (h *Handler) domainOf(s *sighting) (domain Domain, known, told bool) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	told, s.told = s.told, false
	return s.domain, s.connected || s.gone, told
}

// connect finds the pod's launcher and listens to it from then on.
func (h *Handler) connect(name string, vmi Obj) *sighting {
	uid := str(vmi, "metadata", "uid")
	h.mutex.Lock()
	defer h.mutex.Unlock()
	s := h.seen[uid]
	if s == nil {
		s = &sighting{client: launcherClient(vmi)}
		h.seen[uid] = s
	}
	if s.connected || s.gone {
		return s
	}
	answer, err := s.client.Get("http://launcher/events")
	if err == nil {
		decoder := json.NewDecoder(answer.Body)
		if err = decoder.Decode(&s.domain); err == nil {
			s.connected = true
			go h.listen(name, s, decoder)
			return s
		}
	}
	_, missing := os.Stat(emptyDirPath(podOf(vmi), "sockets"))
	s.gone = missing != nil || errors.Is(err, syscall.ECONNREFUSED)
	return s
}

func (h *Handler) listen(name string, s *sighting, decoder *json.Decoder) {
	for {
		var domain Domain
		err := decoder.Decode(&domain)
		h.mutex.Lock()
		if err != nil {
			// whoever is still there is met by the next connect()
			s.connected = false
		} else {
			s.domain, s.told = domain, true
		}
		h.mutex.Unlock()
		h.queue.add(name)
		if err != nil {
			return
		}
	}
}

// act does one thing for the VMI, in virt-handler's order.
func (h *Handler) act(vmi Obj, s *sighting, domain Domain, told bool) time.Duration {
	settings := readSettings()
	if wait := time.Until(s.notBefore); wait > 0 && !told {
		return wait
	}
	inactive := domain.Exists && !domain.alive() && !final(vmi)
	if inactive && str(vmi, "status", "phase") == "Scheduled" {
		if scheduledFor(vmi) < ms(settings.DeleteInactiveMs) {
			inactive = false
		}
	}
	var err error
	switch {
	case deleting(vmi) && domain.alive():
		return h.stop(vmi, s)
	case deleting(vmi) || final(vmi) || inactive:
		err = call(s.client, "/delete", vmi, 30*time.Second)
	case phaseOf(vmi, domain) == str(vmi, "status", "phase"):
		err = call(s.client, "/sync", vmi, ms(settings.SyncDeadlineMs))
	}
	return h.backOff(vmi, s, err, settings)
}

func scheduledFor(vmi Obj) time.Duration {
	for _, item := range arr(vmi, "status", "phaseTransitionTimestamps") {
		if str(item, "phase") == "Scheduled" {
			since, _ := time.Parse(time.RFC3339, str(item, "phaseTransitionTimestamp"))
			return time.Since(since)
		}
	}
	return 0
}

func (h *Handler) stop(vmi Obj, s *sighting) time.Duration {
	if s.killAfter.IsZero() {
		grace := 30.0
		if n, ok := at(vmi, "spec", "terminationGracePeriodSeconds").(float64); ok {
			grace = n
		}
		s.killAfter = time.Now().Add(time.Duration(grace * float64(time.Second)))
		call(s.client, "/shutdown", vmi, 30*time.Second)
	}
	if left := time.Until(s.killAfter); left > 0 {
		return left
	}
	call(s.client, "/kill", vmi, 30*time.Second)
	return time.Second
}

func (h *Handler) backOff(vmi Obj, s *sighting, err error, settings Settings) time.Duration {
	status, message := "True", ""
	if err != nil {
		log.Printf("VMI %s: %v", key(vmi), err)
		status, message = "False", err.Error()
		s.notBefore = time.Now().Add(ms(settings.SyncRetryMs) << min(s.failures, 6))
		s.failures++
	} else {
		s.failures = 0
	}
	h.change(vmi, func(vmi Obj) bool {
		if status == "True" {
			return setCondition(vmi, "Synchronized", "", "", "")
		}
		return setCondition(vmi, "Synchronized", status, "Synchronizing with the Domain failed.", message)
	})
	if err == nil {
		return 0
	}
	return time.Until(s.notBefore)
}

func (h *Handler) change(vmi Obj, change func(Obj) bool) error {
	return h.kube.update(pathOf(vmi, "virtualmachineinstances"), "", str(vmi, "metadata", "uid"),
		change)
}

// phaseOf is calculateVmPhaseForStatusReason.
func phaseOf(vmi Obj, domain Domain) string {
	phase := str(vmi, "status", "phase")
	switch {
	case final(vmi):
		return phase
	case !domain.Exists && phase == "Running":
		return "Failed"
	case !domain.Exists:
		return phase
	case domain.alive():
		return "Running"
	}
	switch domain.Reason {
	case "shutdown", "saved", "from snapshot":
		return "Succeeded"
	case "crashed", "panicked", "destroyed":
		return "Failed"
	}
	return phase
}

func (h *Handler) describe(vmi Obj, s *sighting, domain Domain, lag, runningLag time.Duration) error {
	return h.change(vmi, func(vmi Obj) bool {
		phase := phaseOf(vmi, domain)
		if phase == "Running" && runningLag > 0 {
			phase = str(vmi, "status", "phase")
		}
		if s.gone && !final(vmi) && phase != "Succeeded" {
			phase = "Failed"
		}
		changed := setPhase(vmi, phase)
		ready := "False"
		if phase == "Running" {
			ready = "True"
		}
		changed = setCondition(vmi, "Ready", ready, "", "") || changed
		changed = setCondition(vmi, "LiveMigratable", "False", "DisksNotLiveMigratable",
			"cannot migrate VMI: PVC is not shared") || changed
		if runningLag > 0 {
			return changed
		}
		status, reason := pausedCondition(domain)
		if lag > 0 {
			status, reason = "", ""
		}
		return setCondition(vmi, "Paused", status, reason, "") || changed
	})
}

// pausedCondition: an API pause and a raw suspend look the same; other reasons have none.
func pausedCondition(domain Domain) (status, reason string) {
	if domain.State != "paused" {
		return "", ""
	}
	switch domain.Reason {
	case "user":
		return "True", "PausedByUser"
	case "I/O error":
		return "True", "PausedIOError"
	}
	return "", ""
}
