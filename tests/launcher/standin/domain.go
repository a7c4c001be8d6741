// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log"
	"os"
	"strings"
)

const libvirtdConf = `auth_unix_ro = "none"
auth_unix_rw = "none"
listen_tls = 0
listen_tcp = 0
log_outputs = "3:stderr"
`

// KubeVirt's, but for the log daemon, which would be one more process a pod.
const qemuConf = `stdio_handler = "file"
user = "qemu"
group = "qemu"
dynamic_ownership = 1
remember_owner = 0
namespaces = []
cgroup_controllers = []
security_driver = "none"
`

func writeLibvirtConfig(folder string, root bool) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		log.Fatal(err)
	}
	qemu := qemuConf
	if root {
		qemu = strings.ReplaceAll(qemu, `"qemu"`, `"root"`)
	}
	for name, text := range map[string]string{"libvirtd.conf": libvirtdConf, "qemu.conf": qemu} {
		if err := os.WriteFile(folder+"/"+name, []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

const domainTemplate = `<domain type='qemu'>
  <name>%s</name>
  <uuid>%s</uuid>
  <metadata><kubevirt xmlns='http://kubevirt.io'><uid>%s</uid></kubevirt></metadata>
  <memory unit='MiB'>%d</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>/var/lib/lab/guest-kernel</kernel>
    <initrd>/var/lib/lab/guest-initramfs</initrd>
    <cmdline>console=ttyS0 quiet</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <cpu mode='custom' match='exact'><model fallback='forbid'>qemu64</model></cpu>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
%s    <controller type='usb' model='none'/>
    <serial type='file'>
      <source path='/var/run/kubevirt-private/vmi-disks/%s/serial.log' append='on'/>
      <target port='0'/>
    </serial>
    <serial type='unix'>
      <source mode='bind' path='/var/run/lab/%s.commands'/>
      <target port='1'/>
    </serial>
    <serial type='unix'>
      <source mode='bind' path='/var/run/kubevirt-private/%s/virt-serial0'/>
      <log file='/var/run/kubevirt-private/%s/virt-serial0-log' append='on'/>
      <target port='2'/>
    </serial>
    <graphics type='vnc' socket='/var/run/kubevirt-private/%s/virt-vnc'/>
    <video><model type='none'/></video>
    <memballoon model='none'/>
  </devices>
</domain>
`

// domainXML is the converter: what the domain of a VMI looks like in this pod. The console goes to
// the first volume, so that a test reads it on when the pod is gone.
func domainXML(pod Pod, vmi Obj) string {
	name := pod.Namespace + "_" + pod.Name
	disks, first := "", ""
	for i, volume := range pod.Volumes {
		if first == "" {
			first = volume.Name
		}
		disks += fmt.Sprintf(`    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source file='/var/run/kubevirt-private/vmi-disks/%s/disk.img'/>
      <target dev='vd%c' bus='virtio'/>
      <alias name='ua-%s'/>
    </disk>
`, volume.Name, 'a'+i, volume.Name)
	}
	return fmt.Sprintf(domainTemplate, name, str(vmi, "spec", "domain", "firmware", "uuid"),
		pod.VMI, memoryMiB(str(vmi, "spec", "domain", "memory", "guest")), disks, first, name,
		pod.VMI, pod.VMI, pod.VMI)
}

func memoryMiB(text string) int {
	mib := 0
	if _, err := fmt.Sscanf(text, "%dMi", &mib); err != nil || !strings.HasSuffix(text, "Mi") {
		return 128
	}
	return mib
}
