// SPDX-License-Identifier: GPL-2.0

// How to ask in Go, where write() returns a lock's id: by syscall.Write, and not by os.File.Write.
// The tests do not run it, as they bring no Go along; doc/guide.md says which versions did.
// CGO_ENABLED=0 go build guide_write.go
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
)

// Of <linux/dlm_device.h> and <linux/dlmconstants.h>.
const (
	lock            = 1
	createLockspace = 4
	removeLockspace = 5
	convert         = 4
	modeNL          = 0
	modeEX          = 5
)

var order = binary.LittleEndian // the machine's

// struct dlm_write_request of a 64-bit program, of version 6.0.2.
func request(command byte) []byte {
	bytes := make([]byte, 120)
	bytes[0], bytes[8], bytes[12], bytes[13] = 6, 2, command, 1
	return bytes
}

// A new lock if id is 0, else another mode for that one.
func lockRequest(id uint32, mode byte, name string) []byte {
	bytes := request(lock)
	bytes[16], bytes[17] = mode, byte(len(name))
	if id != 0 {
		order.PutUint32(bytes[20:], convert)
	}
	order.PutUint32(bytes[24:], id)
	bytes[56], bytes[80] = 1, 1 // castaddr and lksb: anything but 0
	return append(bytes, name...)
}

// One call of write(). What it returns is an id, or 0, whatever the length.
func ask(file *os.File, request []byte) (id int, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return 0, err
	}
	err2 := raw.Control(func(fd uintptr) {
		id, err = syscall.Write(int(fd), request)
	})
	return id, errors.Join(err, err2)
}

// One record: its status, and the lock's id. Other goroutines run while this one waits.
func hear(file *os.File, atMost time.Duration) (status int32, id uint32, err error) {
	record := make([]byte, 104)
	file.SetReadDeadline(time.Now().Add(atMost))
	if _, err = file.Read(record); err != nil {
		return 0, 0, err
	}
	return int32(order.Uint32(record[40:])), order.Uint32(record[44:]), nil
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	fmt.Println(runtime.Version())
	control := must(os.OpenFile("/dev/dlm-control", os.O_RDWR, 0))
	create := request(createLockspace)
	copy(create[24:], "guide")
	minor := must(ask(control, create))
	file := must(os.OpenFile("/dev/dlm_guide", os.O_RDWR, 0))

	id := must(ask(file, lockRequest(0, modeNL, "asked")))
	fmt.Printf("syscall.Write: lock %x\n", id)
	fmt.Println(hear(file, time.Second))
	_, _, err := hear(file, time.Second/10)
	fmt.Println("nothing to hear:", err)

	func() {
		defer func() { fmt.Println("os.File.Write panics:", recover()) }()
		file.Write(lockRequest(0, modeNL, "written"))
	}()
	status, lkid, err := hear(file, time.Second)
	fmt.Println("the lock is there:", status, lkid, err)
	_, err = file.Write(lockRequest(lkid, modeEX, ""))
	fmt.Println("converting it:", err)
	fmt.Println(hear(file, time.Second))

	file.Close()
	remove := request(removeLockspace)
	order.PutUint32(remove[20:], uint32(minor))
	must(ask(control, remove))
}
