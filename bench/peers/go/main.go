// SPDX-License-Identifier: MIT

// The cases of yoke-bench by goroutines on one processor: one repetition of the case that is named,
// its result as one number. What is measured is processor time of the whole process, the garbage
// collector's included.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func cpu() float64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Nano() + usage.Stime.Nano())
}

// Times operation(n) after operation(n/8+1): ns per one of n.
func each(n int, operation func(n int)) float64 {
	operation(n/8 + 1)
	began := cpu()
	operation(n)
	return (cpu() - began) / float64(n)
}

func yields(n int) {
	var group sync.WaitGroup
	for t := 0; t < 2; t++ {
		group.Add(1)
		go func() {
			for i := 0; i < n/2; i++ {
				runtime.Gosched()
			}
			group.Done()
		}()
	}
	group.Wait()
}

func spawns(batch int) func(n int) {
	return func(n int) {
		var group sync.WaitGroup
		for i := 0; i < n; i += batch {
			group.Add(batch)
			for k := 0; k < batch; k++ {
				go group.Done()
			}
			group.Wait()
		}
	}
}

func channel(room int) func(n int) {
	return func(n int) {
		items := make(chan int64, room)
		var group sync.WaitGroup
		group.Add(2)
		go func() {
			for i := 0; i < n; i++ {
				items <- int64(i)
			}
			close(items)
			group.Done()
		}()
		go func() {
			received := 0
			for range items {
				received++
			}
			if received != n {
				panic("items were lost")
			}
			group.Done()
		}()
		group.Wait()
	}
}

func locks(n int) {
	var mutex sync.Mutex
	for i := 0; i < n; i++ {
		mutex.Lock()
		mutex.Unlock()
	}
}

func handedLocks(n int) {
	var mutex sync.Mutex
	var group sync.WaitGroup
	for t := 0; t < 2; t++ {
		group.Add(1)
		go func() {
			for i := 0; i < n/2; i++ {
				mutex.Lock()
				runtime.Gosched()
				mutex.Unlock()
			}
			group.Done()
		}()
	}
	group.Wait()
}

func selects(n int) {
	lanes := [2]chan int64{make(chan int64), make(chan int64)}
	go func() {
		for i := 0; i < n; i++ {
			lanes[i%2] <- int64(i)
		}
	}()
	for i := 0; i < n; i++ {
		select {
		case <-lanes[0]:
		case <-lanes[1]:
		}
	}
}

// A goroutine that has an operating system's thread to itself, called and answering.
func threadCalls(n int) {
	call, answer := make(chan int), make(chan int)
	go func() {
		runtime.LockOSThread()
		for i := range call {
			answer <- i
		}
	}()
	for i := 0; i < n; i++ {
		call <- i
		<-answer
	}
	close(call)
}

// An error with where it was made, as yoke's has: Go's own has no backtrace.
type traced struct {
	message string
	frames  [32]uintptr
	n       int
}

func (e *traced) Error() string { return e.message }

var last error

func raises(n int) {
	for i := 0; i < n; i++ {
		e := &traced{message: fmt.Sprintf("item %d is not ok", i)}
		e.n = runtime.Callers(1, e.frames[:])
		last = e
	}
}

func kibOf(path, key string) float64 {
	file, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 1 && fields[0] == key {
			n, _ := strconv.ParseFloat(fields[1], 64)
			return n * 1024
		}
	}
	panic(path)
}

func resident() float64 {
	return kibOf("/proc/self/smaps_rollup", "Rss:") + kibOf("/proc/self/status", "VmPTE:")
}

type crowd struct {
	spawnNs, bytes, cancelMs float64
}

// n goroutines asleep, and then cancelled.
func gather(n int) crowd {
	var asleep, ended sync.WaitGroup
	var result crowd
	ctx, cancel := context.WithCancel(context.Background())
	asleep.Add(n)
	ended.Add(n)
	runtime.GC()
	before := resident()
	began := cpu()
	for i := 0; i < n; i++ {
		go func() {
			timer := time.NewTimer(time.Hour)
			asleep.Done()
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
			ended.Done()
		}()
	}
	asleep.Wait()
	result.spawnNs = (cpu() - began) / float64(n)
	result.bytes = (resident() - before) / float64(n)
	began = cpu()
	cancel()
	ended.Wait()
	result.cancelMs = (cpu() - began) / 1e6
	return result
}

func cancelled(n int) float64 {
	gather(n)
	return gather(n).cancelMs
}

func naps() {
	const sleepers, rounds = 10000, 20
	var group sync.WaitGroup
	group.Add(sleepers)
	for i := 0; i < sleepers; i++ {
		go func() {
			for k := 0; k < rounds; k++ {
				time.Sleep(10 * time.Millisecond)
			}
			group.Done()
		}()
	}
	group.Wait()
}

func sleeps() float64 {
	naps()
	began := cpu()
	naps()
	return (cpu() - began) / (10000 * 20)
}

func main() {
	cases := map[string]func() float64{
		"yield":           func() float64 { return each(2000000, yields) },
		"spawn_join_1":    func() float64 { return each(400000, spawns(1)) },
		"spawn_join_1000": func() float64 { return each(400000, spawns(1000)) },
		"chan_rendezvous": func() float64 { return each(1000000, channel(0)) },
		"chan_buffered":   func() float64 { return each(1000000, channel(128)) },
		"mutex":           func() float64 { return each(4000000, locks) },
		"mutex_handed":    func() float64 { return each(1000000, handedLocks) },
		"select_2":        func() float64 { return each(500000, selects) },
		"thread_run":      func() float64 { return each(20000, threadCalls) / 1e3 },
		"raise":           func() float64 { return each(200000, raises) },
		"idle_20k":        func() float64 { return gather(20000).bytes },
		"idle_1m":         func() float64 { return gather(1000000).bytes },
		"spawn_1m":        func() float64 { return gather(1000000).spawnNs },
		"cancel_20k":      func() float64 { return cancelled(20000) },
		"cancel_100k":     func() float64 { return cancelled(100000) },
		"sleep_10k":       sleeps,
	}
	runtime.GOMAXPROCS(1)
	if len(os.Args) != 2 || cases[os.Args[1]] == nil {
		os.Exit(3)
	}
	fmt.Println(cases[os.Args[1]]())
}
