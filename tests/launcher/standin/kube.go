// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

// Obj is any object of the API.
type Obj = map[string]any

const (
	kubeDir    = "/var/lib/lab/kube"
	kubeServer = "https://127.0.0.1:6443"
)

// StatusError is an answer of the API server that isn't 2xx.
type StatusError struct {
	Code int
	Body string
}

func (e *StatusError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.Code, e.Body) }

func hasCode(err error, code int) bool {
	status, ok := err.(*StatusError)
	return ok && status.Code == code
}

// Kube is a client of the API server, an administrator as KubeVirt's own components nearly are.
type Kube struct{ client *http.Client }

func newKube() *Kube {
	certificate, err := tls.LoadX509KeyPair(kubeDir+"/admin.crt", kubeDir+"/admin.key")
	if err != nil {
		log.Fatal(err)
	}
	return &Kube{&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{certificate}, RootCAs: clusterCA(),
	}}}}
}

func clusterCA() *x509.CertPool {
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(kubeDir + "/ca.crt")
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		log.Fatalf("%s/ca.crt: %v", kubeDir, err)
	}
	return pool
}

func (k *Kube) send(method, path, contentType string, body any) (*http.Response, error) {
	var text []byte
	if body != nil {
		text, _ = json.Marshal(body)
	}
	request, err := http.NewRequest(method, kubeServer+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", contentType)
	}
	return k.client.Do(request)
}

func (k *Kube) do(method, path, contentType string, body any) (Obj, error) {
	answer, err := k.send(method, path, contentType, body)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode/100 != 2 {
		return nil, &StatusError{answer.StatusCode, string(text)}
	}
	var object Obj
	return object, json.Unmarshal(text, &object)
}

func (k *Kube) get(path string) (Obj, error) { return k.do("GET", path, "", nil) }

func (k *Kube) create(path string, object Obj) (Obj, error) {
	return k.do("POST", path, "application/json", object)
}

func (k *Kube) merge(path string, patch Obj) (Obj, error) {
	return k.do("PATCH", path, "application/merge-patch+json", patch)
}

// remove deletes an object if it still is the one with that uid. Gone already is fine.
func (k *Kube) remove(path, uid string, options Obj) error {
	if options == nil {
		options = Obj{}
	}
	options["preconditions"] = Obj{"uid": uid}
	_, err := k.do("DELETE", path, "application/json", options)
	if hasCode(err, 404) || hasCode(err, 409) {
		return nil
	}
	return err
}

// update reads, changes and writes until nobody else wrote in between; change says whether there
// is anything to write. suffix: "/status" or "".
func (k *Kube) update(path, suffix, uid string, change func(Obj) bool) error {
	for {
		object, err := k.get(path)
		if err != nil {
			return err
		}
		if str(object, "metadata", "uid") != uid || !change(object) {
			return nil
		}
		_, err = k.do("PUT", path+suffix, "application/json", object)
		if !hasCode(err, 409) {
			return err
		}
	}
}

// clone shares nothing with what it is made from.
func clone(object Obj) Obj {
	var copied Obj
	text, err := json.Marshal(object)
	if err == nil {
		err = json.Unmarshal(text, &copied)
	}
	if err != nil {
		log.Fatal(err)
	}
	return copied
}

// amend is update for an object that was just read: the server is asked only where change has
// something to write.
func (k *Kube) amend(object Obj, path, suffix string, change func(Obj) bool) (bool, error) {
	if !change(clone(object)) {
		return false, nil
	}
	return true, k.update(path, suffix, str(object, "metadata", "uid"), change)
}

// Store is what a watch has brought so far.
type Store struct {
	mutex   sync.Mutex
	objects map[string]Obj
}

func key(object Obj) string {
	return str(object, "metadata", "namespace") + "/" + str(object, "metadata", "name")
}

func (s *Store) get(key string) Obj {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.objects[key]
}

func (s *Store) list() []Obj {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	all := make([]Obj, 0, len(s.objects))
	for _, object := range s.objects {
		all = append(all, object)
	}
	return all
}

func (s *Store) set(object Obj, gone bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if gone {
		delete(s.objects, key(object))
	} else {
		s.objects[key(object)] = object
	}
}

// watch keeps a store up to date for ever and calls changed for each object that did.
func (k *Kube) watch(path, selector string, changed func(Obj)) *Store {
	store := &Store{objects: map[string]Obj{}}
	go func() {
		for {
			err := k.watchOnce(path, selector, store, changed)
			log.Printf("watch %s: %v", path, err)
			time.Sleep(200 * time.Millisecond) // the server is restarting
		}
	}()
	return store
}

func (k *Kube) watchOnce(path, selector string, store *Store, changed func(Obj)) error {
	list, err := k.get(path + "?fieldSelector=" + url.QueryEscape(selector))
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, item := range arr(list, "items") {
		object := item.(Obj)
		seen[key(object)] = true
		store.set(object, false)
		changed(object)
	}
	for _, object := range store.list() {
		if !seen[key(object)] {
			store.set(object, true)
			changed(object)
		}
	}
	answer, err := k.send("GET", fmt.Sprintf("%s?watch=1&resourceVersion=%s&fieldSelector=%s", path,
		str(list, "metadata", "resourceVersion"), url.QueryEscape(selector)), "", nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != 200 {
		return &StatusError{answer.StatusCode, "watch"}
	}
	decoder := json.NewDecoder(answer.Body)
	for {
		var event struct {
			Type   string
			Object Obj
		}
		if err := decoder.Decode(&event); err != nil {
			return err
		}
		if event.Type == "ERROR" {
			return fmt.Errorf("%v", event.Object)
		}
		store.set(event.Object, event.Type == "DELETED")
		changed(event.Object)
	}
}

// Queue runs one worker a key; a worker sees each call of add() at least once after it.
type Queue struct {
	mutex   sync.Mutex
	workers map[string]chan struct{}
	// reconcile returns after which time to look again without a call of add(); 0: not.
	reconcile func(key string) time.Duration
}

func newQueue(reconcile func(string) time.Duration) *Queue {
	return &Queue{workers: map[string]chan struct{}{}, reconcile: reconcile}
}

func (q *Queue) add(key string) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	wake := q.workers[key]
	if wake == nil {
		wake = make(chan struct{}, 1)
		q.workers[key] = wake
		go q.work(key, wake)
	}
	select {
	case wake <- struct{}{}:
	default:
	}
}

func (q *Queue) work(key string, wake chan struct{}) {
	for range wake {
		if after := q.reconcile(key); after > 0 {
			time.AfterFunc(after, func() { q.add(key) })
		}
	}
}

// at walks members by name; nil when there is no such thing.
func at(object any, path ...string) any {
	for _, member := range path {
		next, ok := object.(Obj)
		if !ok {
			return nil
		}
		object = next[member]
	}
	return object
}

func str(object any, path ...string) string {
	text, _ := at(object, path...).(string)
	return text
}

func obj(object any, path ...string) Obj {
	found, _ := at(object, path...).(Obj)
	return found
}

func arr(object any, path ...string) []any {
	found, _ := at(object, path...).([]any)
	return found
}

// put sets a member and makes the objects on the way.
func put(object Obj, value any, path ...string) {
	for _, member := range path[:len(path)-1] {
		next, ok := object[member].(Obj)
		if !ok {
			next = Obj{}
			object[member] = next
		}
		object = next
	}
	object[path[len(path)-1]] = value
}

func contains(list []any, value string) bool {
	for _, item := range list {
		if item == value {
			return true
		}
	}
	return false
}

func without(list []any, value string) []any {
	rest := []any{}
	for _, item := range list {
		if item != value {
			rest = append(rest, item)
		}
	}
	return rest
}

func condition(object Obj, kind string) Obj {
	for _, item := range arr(object, "status", "conditions") {
		if str(item, "type") == kind {
			return item.(Obj)
		}
	}
	return nil
}

// setCondition adds, changes or (status "") removes one; false when it is so already.
func setCondition(object Obj, kind, status, reason, message string) bool {
	old := condition(object, kind)
	if str(old, "status") == status && str(old, "reason") == reason &&
		str(old, "message") == message {
		return false
	}
	rest := []any{}
	for _, item := range arr(object, "status", "conditions") {
		if str(item, "type") != kind {
			rest = append(rest, item)
		}
	}
	if status != "" {
		rest = append(rest, Obj{"type": kind, "status": status, "reason": reason,
			"message": message, "lastTransitionTime": now()})
	}
	put(object, rest, "status", "conditions")
	return true
}

func now() string { return time.Now().UTC().Format(time.RFC3339) }

func deleting(object Obj) bool { return str(object, "metadata", "deletionTimestamp") != "" }

func final(vmi Obj) bool {
	phase := str(vmi, "status", "phase")
	return phase == "Succeeded" || phase == "Failed"
}
