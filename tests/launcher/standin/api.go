// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
)

const apiAddress = "127.0.0.1:7443"

// refusal is what virt-api answers instead of doing what it was asked.
type refusal struct {
	code   int
	reason string
	text   string
}

func (r *refusal) Error() string { return r.text }

func conflict(format string, words ...any) error {
	return &refusal{409, "Conflict", fmt.Sprintf(format, words...)}
}

// serveAPI is virt-api: the subresources, behind the API server's aggregator only.
func (c *Cluster) serveAPI() {
	server := &http.Server{
		Addr:    apiAddress,
		Handler: http.HandlerFunc(c.answer),
		TLSConfig: &tls.Config{ClientCAs: clusterCA(),
			ClientAuth: tls.RequireAndVerifyClientCert},
	}
	log.Fatal(server.ListenAndServeTLS(kubeDir+"/virt-api.crt", kubeDir+"/virt-api.key"))
}

func fromAggregator(certificates []*x509.Certificate) bool {
	return len(certificates) > 0 && certificates[0].Subject.CommonName == "front-proxy-client"
}

func (c *Cluster) answer(w http.ResponseWriter, r *http.Request) {
	if !fromAggregator(r.TLS.PeerCertificates) {
		say(w, &refusal{401, "Unauthorized", "not the aggregator"})
		return
	}
	words := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(words) == 3 && r.Method == "GET" {
		discover(w)
		return
	}
	if len(words) != 8 || words[3] != "namespaces" || r.Method != "PUT" {
		say(w, &refusal{404, "NotFound", "no such subresource"})
		return
	}
	var body Obj
	text, _ := io.ReadAll(io.LimitReader(r.Body, 65536))
	if len(text) > 0 && json.Unmarshal(text, &body) != nil {
		say(w, &refusal{400, "BadRequest", "the body is no JSON object"})
		return
	}
	err := c.act(words[4], words[5], words[6], words[7], body)
	log.Printf("%s %s of %s: %v", r.Method, r.URL.Path, r.Header.Get("X-Remote-User"), err)
	if err != nil {
		say(w, err)
		return
	}
	w.WriteHeader(202)
}

func say(w http.ResponseWriter, err error) {
	r := &refusal{500, "InternalError", err.Error()}
	if known, ok := err.(*refusal); ok {
		r = known
	} else if hasCode(err, 404) {
		r = &refusal{404, "NotFound", "no such object"}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.code)
	json.NewEncoder(w).Encode(Obj{"kind": "Status", "apiVersion": "v1", "metadata": Obj{},
		"status": "Failure", "message": r.text, "reason": r.reason, "code": r.code})
}

func discover(w http.ResponseWriter) {
	resources := []any{}
	for _, name := range []string{"virtualmachineinstances/pause",
		"virtualmachineinstances/unpause", "virtualmachines/start", "virtualmachines/stop"} {
		resources = append(resources, Obj{"name": name, "namespaced": true, "singularName": "",
			"kind": "", "verbs": []any{"update"}})
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(Obj{"kind": "APIResourceList", "apiVersion": "v1",
		"groupVersion": "subresources.kubevirt.io/v1", "resources": resources})
}

func (c *Cluster) act(namespace, resource, name, verb string, body Obj) error {
	object, err := c.kube.get(collection(namespace, resource) + "/" + name)
	if err != nil {
		return err
	}
	switch resource + "/" + verb {
	case "virtualmachineinstances/pause":
		return c.pause(object)
	case "virtualmachineinstances/unpause":
		return c.unpause(object)
	case "virtualmachines/start":
		return c.start(object, body)
	case "virtualmachines/stop":
		return c.stop(object)
	}
	return &refusal{404, "NotFound", "no such subresource"}
}

// hasForeignProbe: guestAgentPing tolerates a pause, any other probe would kill the pod.
func hasForeignProbe(vmi Obj) bool {
	probe := obj(vmi, "spec", "livenessProbe")
	return probe != nil && probe["guestAgentPing"] == nil
}

func (c *Cluster) pause(vmi Obj) error {
	switch {
	case str(vmi, "status", "phase") != "Running":
		return conflict("VM is not running")
	case hasForeignProbe(vmi):
		return &refusal{403, "Forbidden", "Pausing VMIs with LivenessProbe is currently not supported"}
	case str(condition(vmi, "Paused"), "status") == "True":
		return conflict("VMI is already paused")
	}
	return callHandler("/pause", vmi)
}

func (c *Cluster) unpause(vmi Obj) error {
	vm, err := c.kube.get(pathOf(vmi, "virtualmachines"))
	if err != nil && !hasCode(err, 404) {
		return err
	}
	switch {
	case at(vm, "status", "snapshotInProgress") != nil:
		return conflict("Operation is currently not permitted: a snapshot is in progress")
	case str(vmi, "status", "phase") != "Running":
		return conflict("VM is not running")
	case str(condition(vmi, "Paused"), "status") != "True":
		return conflict("VMI is not paused")
	}
	return callHandler("/unpause", vmi)
}

func (c *Cluster) start(vm, body Obj) error {
	vmi, err := c.kube.get(pathOf(vm, "virtualmachineinstances"))
	if err != nil && !hasCode(err, 404) {
		return err
	}
	strategy := runStrategy(vm)
	switch {
	case vmi != nil && !final(vmi):
		return conflict("VM is already running")
	case strategy == "Always" || strategy == "Once":
		return conflict("%s does not support manual start requests", strategy)
	case len(arr(vm, "status", "stateChangeRequests")) > 0:
		return conflict("unable to complete request: stop/start already underway")
	case strategy == "Halted":
		return c.alwaysRun(vm)
	case vmi != nil:
		return c.request(vm, Obj{"action": "Stop", "uid": str(vmi, "metadata", "uid")},
			Obj{"action": "Start"})
	}
	return c.request(vm, Obj{"action": "Start"})
}

func (c *Cluster) alwaysRun(vm Obj) error {
	_, err := c.kube.merge(pathOf(vm, "virtualmachines"),
		Obj{"spec": Obj{"running": nil, "runStrategy": "Always"}})
	return err
}

func (c *Cluster) stop(vm Obj) error {
	vmi, err := c.kube.get(pathOf(vm, "virtualmachineinstances"))
	if err != nil && !hasCode(err, 404) {
		return err
	}
	strategy := runStrategy(vm)
	switch {
	case strategy == "Halted":
		return conflict("Halted does not support manual stop requests")
	case vmi == nil || final(vmi):
		return conflict("VM is not running")
	case strategy == "Always":
		_, err := c.kube.merge(pathOf(vm, "virtualmachines"),
			Obj{"spec": Obj{"running": nil, "runStrategy": "Halted"}})
		return err
	}
	return c.request(vm, Obj{"action": "Stop", "uid": str(vmi, "metadata", "uid")})
}
