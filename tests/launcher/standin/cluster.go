// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha1"
	"fmt"
	"log"
	"strings"
	"time"
)

const (
	group       = "/apis/kubevirt.io/v1"
	wukongs     = "/apis/vm.novasphere.dev/v1alpha1/wukongs"
	foreground  = "kubevirt.io/foregroundDeleteVirtualMachine"
	vmFinalizer = "kubevirt.io/virtualMachineControllerFinalize"
	clusterTick = 2 * time.Second // looks again at what no event tells of, as informers' resyncs do
)

func collection(namespace, resource string) string {
	return group + "/namespaces/" + namespace + "/" + resource
}

func pathOf(object Obj, resource string) string {
	return collection(str(object, "metadata", "namespace"), resource) + "/" +
		str(object, "metadata", "name")
}

func podsPath(namespace string) string { return "/api/v1/namespaces/" + namespace + "/pods" }

func podPath(pod Obj) string {
	return podsPath(str(pod, "metadata", "namespace")) + "/" + str(pod, "metadata", "name")
}

// Cluster is virt-controller and virt-api; and the Wukongs' operator, as far as that is about pins.
type Cluster struct {
	kube     *Kube
	vms      *Store
	vmis     *Store
	wukongs  *Store
	vmQueue  *Queue
	vmiQueue *Queue
}

func runCluster() {
	c := &Cluster{kube: newKube()}
	c.vmQueue = newQueue(func(key string) time.Duration { return c.again(c.syncVM(key)) })
	c.vmiQueue = newQueue(func(key string) time.Duration { return c.again(c.syncVMI(key)) })
	c.vms = c.kube.watch(group+"/virtualmachines", "", func(o Obj) { c.vmQueue.add(key(o)) })
	c.vmis = c.kube.watch(group+"/virtualmachineinstances", "", func(o Obj) {
		c.vmQueue.add(key(o))
		c.vmiQueue.add(key(o))
	})
	c.wukongs = c.kube.watch(wukongs, "", func(o Obj) { c.vmQueue.add(key(o) + "-vm") })
	c.kube.watch("/api/v1/pods", "", func(pod Obj) {
		if name := str(pod, "metadata", "labels", "vm.kubevirt.io/name"); name != "" {
			c.vmiQueue.add(str(pod, "metadata", "namespace") + "/" + name)
		}
	})
	go func() {
		for range time.Tick(clusterTick) {
			for _, vm := range c.vms.list() {
				c.vmQueue.add(key(vm))
			}
			for _, vmi := range c.vmis.list() {
				c.vmiQueue.add(key(vmi))
			}
		}
	}()
	c.serveAPI()
}

func (c *Cluster) again(err error) time.Duration {
	if err == nil || hasCode(err, 409) || hasCode(err, 404) {
		return 0
	}
	log.Printf("sync: %v", err)
	return 500 * time.Millisecond
}

// runStrategy: `running` and `runStrategy` exclude each other.
func runStrategy(vm Obj) string {
	if running, ok := at(vm, "spec", "running").(bool); ok {
		if running {
			return "Always"
		}
		return "Halted"
	}
	return str(vm, "spec", "runStrategy")
}

// firmwareUUID is the same for each VM of that name, whatever an operator strips.
func firmwareUUID(name string) string {
	sum := sha1.Sum([]byte("kubevirt-standin/" + name))
	sum[6] = sum[6]&0x0f | 0x50
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

func (c *Cluster) syncVM(key string) error {
	vm := c.vms.get(key)
	if vm == nil {
		return nil
	}
	vmi, err := c.kube.get(pathOf(vm, "virtualmachineinstances"))
	if err != nil && !hasCode(err, 404) {
		return err
	}
	if deleting(vm) {
		return c.endVM(vm, vmi)
	}
	if vm, err = c.readyVM(vm); err != nil {
		return err
	}
	// the requests are looked at before the status is written: RerunOnFailure decides by the old one
	if err := c.followStrategy(vm, vmi); err != nil {
		return err
	}
	if vmi != nil && final(vmi) {
		if err := c.dropFinalizer(vmi, vmFinalizer); err != nil {
			return err
		}
	}
	_, err = c.kube.amend(vm, pathOf(vm, "virtualmachines"), "/status",
		func(vm Obj) bool { return describeVM(vm, vmi) })
	return err
}

// readyVM is the VM as it is now, with all that its spec gets from us.
func (c *Cluster) readyVM(vm Obj) (Obj, error) {
	path, uid := pathOf(vm, "virtualmachines"), str(vm, "metadata", "uid")
	vm, err := c.kube.get(path)
	if err != nil || str(vm, "metadata", "uid") != uid {
		return vm, err
	}
	completed, err := c.kube.amend(vm, path, "", completeVM)
	if err != nil {
		return nil, err
	}
	pinned, err := c.carryPin(vm)
	if err != nil || !(completed || pinned) {
		return vm, err
	}
	return c.kube.get(path)
}

// carryPin is the operator: what the Wukong selects is what the template selects, and nothing else.
func (c *Cluster) carryPin(vm Obj) (bool, error) {
	wukong := c.wukongs.get(strings.TrimSuffix(key(vm), "-vm"))
	if wukong == nil || readSettings().IgnorePins != 0 {
		return false, nil
	}
	selector := obj(wukong, "spec", "highAvailability", "nodeSelector")
	return c.kube.amend(vm, pathOf(vm, "virtualmachines"), "",
		func(vm Obj) bool {
			if fmt.Sprint(obj(vm, "spec", "template", "spec", "nodeSelector")) == fmt.Sprint(selector) {
				return false
			}
			if len(selector) > 0 {
				put(vm, selector, "spec", "template", "spec", "nodeSelector")
			} else {
				delete(obj(vm, "spec", "template", "spec"), "nodeSelector")
			}
			log.Printf("VM %s: its template selects %v", key(vm), selector)
			return true
		})
}

func completeVM(vm Obj) bool {
	changed := false
	if !contains(arr(vm, "metadata", "finalizers"), vmFinalizer) {
		put(vm, append(arr(vm, "metadata", "finalizers"), vmFinalizer), "metadata", "finalizers")
		changed = true
	}
	at := []string{"spec", "template", "spec", "domain", "firmware", "uuid"}
	if str(vm, at...) == "" {
		put(vm, firmwareUUID(str(vm, "metadata", "name")), at...)
		changed = true
	}
	return changed
}

func (c *Cluster) endVM(vm, vmi Obj) error {
	if vmi == nil {
		return c.kube.update(pathOf(vm, "virtualmachines"), "", str(vm, "metadata", "uid"),
			func(vm Obj) bool {
				put(vm, without(arr(vm, "metadata", "finalizers"), vmFinalizer),
					"metadata", "finalizers")
				return true
			})
	}
	if final(vmi) {
		if err := c.dropFinalizer(vmi, vmFinalizer); err != nil {
			return err
		}
	}
	return c.deleteVMI(vmi)
}

func (c *Cluster) deleteVMI(vmi Obj) error {
	if vmi == nil || deleting(vmi) {
		return nil
	}
	log.Printf("VMI %s (%s): deleted", key(vmi), str(vmi, "metadata", "uid"))
	return c.kube.remove(pathOf(vmi, "virtualmachineinstances"), str(vmi, "metadata", "uid"), nil)
}

func (c *Cluster) dropFinalizer(vmi Obj, name string) error {
	return c.kube.update(pathOf(vmi, "virtualmachineinstances"), "", str(vmi, "metadata", "uid"),
		func(vmi Obj) bool {
			if !contains(arr(vmi, "metadata", "finalizers"), name) {
				return false
			}
			put(vmi, without(arr(vmi, "metadata", "finalizers"), name), "metadata", "finalizers")
			return true
		})
}

// followStrategy is the table of facts 1.3.
func (c *Cluster) followStrategy(vm, vmi Obj) error {
	strategy := runStrategy(vm)
	start, stop := requests(vm)
	switch {
	case vmi != nil && stop == str(vmi, "metadata", "uid"):
		return c.deleteVMI(vmi)
	case vmi != nil && strategy == "Halted":
		return c.deleteVMI(vmi)
	case vmi != nil && final(vmi) && (strategy == "Always" || strategy == "RerunOnFailure"):
		if strategy == "RerunOnFailure" && str(vmi, "status", "phase") == "Failed" && !start {
			if err := c.request(vm, Obj{"action": "Start"}); err != nil {
				return err
			}
		}
		return c.deleteVMI(vmi)
	case vmi != nil || !startsNow(vm, strategy, start):
		return nil
	}
	return c.createVMI(vm)
}

func startsNow(vm Obj, strategy string, requested bool) bool {
	switch strategy {
	case "Always", "Once":
		return true
	case "Manual":
		return requested
	case "RerunOnFailure":
		return requested || str(vm, "status", "runStrategy") != "RerunOnFailure"
	}
	return false
}

func requests(vm Obj) (start bool, stop string) {
	for _, item := range arr(vm, "status", "stateChangeRequests") {
		if str(item, "action") == "Start" {
			start = true
		} else if str(item, "action") == "Stop" {
			stop = str(item, "uid")
		}
	}
	return start, stop
}

func (c *Cluster) request(vm Obj, wanted ...Obj) error {
	return c.kube.update(pathOf(vm, "virtualmachines"), "/status", str(vm, "metadata", "uid"),
		func(vm Obj) bool {
			list := arr(vm, "status", "stateChangeRequests")
			for _, item := range wanted {
				list = append(list, item)
			}
			put(vm, list, "status", "stateChangeRequests")
			return true
		})
}

func (c *Cluster) createVMI(vm Obj) error {
	namespace, name := str(vm, "metadata", "namespace"), str(vm, "metadata", "name")
	labels := Obj{"vm.kubevirt.io/name": name}
	for label, value := range obj(vm, "spec", "template", "metadata", "labels") {
		labels[label] = value
	}
	vmi, err := c.kube.create(collection(namespace, "virtualmachineinstances"), Obj{
		"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
		"metadata": Obj{
			"name": name, "namespace": namespace, "labels": labels,
			"annotations": obj(vm, "spec", "template", "metadata", "annotations"),
			"finalizers":  []any{vmFinalizer, foreground},
			"ownerReferences": []any{Obj{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
				"name": name, "uid": str(vm, "metadata", "uid"), "controller": true,
				"blockOwnerDeletion": true}},
		},
		"spec":   obj(vm, "spec", "template", "spec"),
		"status": Obj{"phase": "Pending"},
	})
	if err != nil {
		return err
	}
	log.Printf("VMI %s (%s): created", key(vmi), str(vmi, "metadata", "uid"))
	return c.kube.update(pathOf(vm, "virtualmachines"), "/status", str(vm, "metadata", "uid"),
		func(vm Obj) bool {
			put(vm, true, "status", "created")
			put(vm, []any{}, "status", "stateChangeRequests")
			return true
		})
}

func printable(vm, vmi Obj) string {
	phase := str(vmi, "status", "phase")
	switch {
	case vmi == nil || final(vmi):
		return "Stopped"
	case deleting(vmi):
		return "Stopping"
	case str(condition(vmi, "Paused"), "status") == "True":
		return "Paused"
	case phase == "Running":
		return "Running"
	}
	return "Starting"
}

// trimRequests drops a Stop whose VMI is gone or going.
func trimRequests(vm, vmi Obj) {
	left := []any{}
	for _, item := range arr(vm, "status", "stateChangeRequests") {
		done := str(item, "action") == "Stop" &&
			(deleting(vmi) || str(item, "uid") != str(vmi, "metadata", "uid"))
		if !done {
			left = append(left, item)
		}
	}
	if len(left) < len(arr(vm, "status", "stateChangeRequests")) {
		put(vm, left, "status", "stateChangeRequests")
	}
}

func describeVM(vm, vmi Obj) bool {
	before := fmt.Sprint(vm["status"])
	put(vm, printable(vm, vmi), "status", "printableStatus")
	put(vm, vmi != nil, "status", "created")
	put(vm, str(condition(vmi, "Ready"), "status") == "True", "status", "ready")
	if vmi != nil || str(vm, "status", "runStrategy") == "" {
		put(vm, runStrategy(vm), "status", "runStrategy")
	}
	trimRequests(vm, vmi)
	paused := condition(vmi, "Paused")
	setCondition(vm, "Paused", str(paused, "status"), str(paused, "reason"), str(paused, "message"))
	return fmt.Sprint(vm["status"]) != before
}

func (c *Cluster) podsOf(vmi Obj) ([]Obj, error) {
	list, err := c.kube.get(podsPath(str(vmi, "metadata", "namespace")) +
		"?labelSelector=kubevirt.io/created-by=" + str(vmi, "metadata", "uid"))
	if err != nil {
		return nil, err
	}
	pods := []Obj{}
	for _, item := range arr(list, "items") {
		pods = append(pods, item.(Obj))
	}
	return pods, nil
}

func (c *Cluster) syncVMI(key string) error {
	vmi := c.vmis.get(key)
	if vmi == nil {
		return nil
	}
	pods, err := c.podsOf(vmi)
	if err != nil {
		return err
	}
	if deleting(vmi) {
		return c.endVMI(vmi, pods)
	}
	switch phase := str(vmi, "status", "phase"); {
	case final(vmi):
		return nil
	case len(pods) == 0 && (phase == "" || phase == "Pending"):
		return c.createPod(vmi)
	case len(pods) == 0:
		return c.setPhase(vmi, "Failed")
	case phase == "Pending" && str(pods[0], "spec", "nodeName") == "":
		return c.bindPod(vmi, pods[0])
	case (phase == "Pending" || phase == "Scheduling") && ended(pods[0]):
		return c.setPhase(vmi, "Failed")
	case phase == "Scheduling" && str(condition(pods[0], "Ready"), "status") == "True":
		return c.schedule(vmi)
	}
	return nil
}

func ended(pod Obj) bool {
	phase := str(pod, "status", "phase")
	return phase == "Succeeded" || phase == "Failed"
}

func (c *Cluster) endVMI(vmi Obj, pods []Obj) error {
	for _, pod := range pods {
		if deleting(pod) {
			continue
		}
		if err := c.kube.remove(podPath(pod), str(pod, "metadata", "uid"), nil); err != nil {
			return err
		}
	}
	if len(pods) > 0 {
		return nil
	}
	if !final(vmi) {
		if err := c.setPhase(vmi, "Failed"); err != nil {
			return err
		}
	}
	return c.dropFinalizer(vmi, foreground)
}

func setPhase(vmi Obj, phase string) bool {
	if str(vmi, "status", "phase") == phase {
		return false
	}
	put(vmi, phase, "status", "phase")
	put(vmi, append(arr(vmi, "status", "phaseTransitionTimestamps"),
		Obj{"phase": phase, "phaseTransitionTimestamp": now()}),
		"status", "phaseTransitionTimestamps")
	log.Printf("VMI %s (%s): %s", key(vmi), str(vmi, "metadata", "uid"), phase)
	return true
}

func (c *Cluster) change(vmi Obj, change func(Obj) bool) error {
	return c.kube.update(pathOf(vmi, "virtualmachineinstances"), "", str(vmi, "metadata", "uid"),
		change)
}

func (c *Cluster) setPhase(vmi Obj, phase string) error {
	return c.change(vmi, func(vmi Obj) bool { return !final(vmi) && setPhase(vmi, phase) })
}

func (c *Cluster) createPod(vmi Obj) error {
	namespace, name := str(vmi, "metadata", "namespace"), str(vmi, "metadata", "name")
	uid := str(vmi, "metadata", "uid")
	account := "/api/v1/namespaces/" + namespace + "/serviceaccounts"
	_, err := c.kube.create(account, Obj{"metadata": Obj{"name": "default"}})
	if err != nil && !hasCode(err, 409) {
		return err
	}
	// one name a VMI: a second try can't make a second pod
	pod, err := c.kube.create(podsPath(namespace), Obj{
		"metadata": Obj{
			"name": "virt-launcher-" + name + "-" + uid[:5],
			"labels": Obj{"kubevirt.io": "virt-launcher", "kubevirt.io/created-by": uid,
				"vm.kubevirt.io/name": name},
			"annotations": Obj{"kubevirt.io/domain": name},
			"ownerReferences": []any{Obj{"apiVersion": "kubevirt.io/v1",
				"kind": "VirtualMachineInstance", "name": name, "uid": uid, "controller": true}},
		},
		"spec": podSpec(vmi),
	})
	if err != nil {
		return err
	}
	log.Printf("pod %s (%s): created", key(pod), str(pod, "metadata", "uid"))
	return c.bindPod(vmi, pod)
}

// runtimeUser: a test asks for a root launcher by annotation; in KubeVirt it is a feature gate.
func runtimeUser(vmi Obj) int {
	if str(vmi, "metadata", "annotations", "standin/root") != "" {
		return 0
	}
	return qemuID
}

func podSpec(vmi Obj) Obj {
	grace := 30.0
	if n, ok := at(vmi, "spec", "terminationGracePeriodSeconds").(float64); ok {
		grace = n
	}
	volumes := []any{}
	for _, name := range emptyDirs(vmi) {
		volumes = append(volumes, Obj{"name": name, "emptyDir": Obj{}})
	}
	for _, volume := range arr(vmi, "spec", "volumes") {
		if claim := str(volume, "persistentVolumeClaim", "claimName"); claim != "" {
			volumes = append(volumes, Obj{"name": str(volume, "name"),
				"persistentVolumeClaim": Obj{"claimName": claim}})
		}
	}
	return Obj{
		"restartPolicy": "Never", "automountServiceAccountToken": false,
		"terminationGracePeriodSeconds": grace + 15 + 15,
		"securityContext":               Obj{"fsGroup": 107, "runAsUser": runtimeUser(vmi)},
		"containers":                    []any{Obj{"name": "compute", "image": "virt-launcher"}},
		"volumes":                       volumes,
	}
}

// bindPod is the scheduler; activePods names the pod before the kubelet sees it.
func (c *Cluster) bindPod(vmi, pod Obj) error {
	uid := str(pod, "metadata", "uid")
	err := c.change(vmi, func(vmi Obj) bool {
		put(vmi, nodeName, "status", "activePods", uid)
		put(vmi, runtimeUser(vmi), "status", "runtimeUser")
		return true
	})
	if err != nil {
		return err
	}
	_, err = c.kube.create(podPath(pod)+"/binding", Obj{
		"metadata": Obj{"name": str(pod, "metadata", "name")},
		"target":   Obj{"kind": "Node", "name": nodeName},
	})
	if err != nil && !hasCode(err, 409) {
		return err
	}
	return c.setPhase(vmi, "Scheduling")
}

func (c *Cluster) schedule(vmi Obj) error {
	return c.change(vmi, func(vmi Obj) bool {
		put(vmi, nodeName, "status", "nodeName")
		put(vmi, nodeName, "metadata", "labels", "kubevirt.io/nodeName")
		return setPhase(vmi, "Scheduled")
	})
}
