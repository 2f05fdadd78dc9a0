// The workloads with goroutines and channels. go WORKLOAD -> one line of JSON
package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"time"
)

const chanCap = 1024 // a goroutine's "mailbox"; bounded, as Go has no unbounded channel

func emit(w string, v float64, unit string, extra ...any) {
	fmt.Printf(`{"peer":"go","workload":"%s","value":%.3f,"unit":"%s"`, w, v, unit)
	for i := 0; i+1 < len(extra); i += 2 {
		fmt.Printf(`,"%v":%v`, extra[i], extra[i+1])
	}
	fmt.Println("}")
}

func quant(l []int64) []any {
	sort.Slice(l, func(i, j int) bool { return l[i] < l[j] })
	q := func(p float64) float64 {
		i := int(p * float64(len(l)))
		if i > len(l)-1 {
			i = len(l) - 1
		}
		return float64(l[i]) / 1000
	}
	return []any{"p50_us", q(.5), "p99_us", q(.99), "p999_us", q(.999)}
}

func rate(n int, t0 time.Time) float64 { return float64(n) / time.Since(t0).Seconds() }

func rss() float64 {
	b, _ := os.ReadFile("/proc/self/statm")
	f := bytes.Fields(b)
	p, _ := strconv.Atoi(string(f[1]))
	return float64(p * os.Getpagesize())
}

func spawn() {
	c, batch, batches := runtime.NumCPU(), 100000, 20
	per := batch / c
	one := func() {
		var wg, all sync.WaitGroup
		for i := 0; i < c; i++ {
			wg.Add(1)
			go func() {
				defer wg.Done()
				all.Add(per)
				for i := 0; i < per; i++ {
					go all.Done() // the body is empty but for telling that it is over
				}
			}()
		}
		wg.Wait()
		all.Wait()
	}
	one()
	one()
	t0 := time.Now()
	for i := 0; i < batches; i++ {
		one()
	}
	emit("spawn", rate(batches*per*c, t0), "goroutines/s", "n", batches*per*c)
}

func pair(n int, lat []int64) {
	a, b := make(chan int, 1), make(chan int, 1)
	go func() {
		for v := range a {
			b <- v
		}
	}()
	for i := 0; i < n; i++ {
		if lat != nil {
			t := time.Now()
			a <- i
			<-b
			lat[i] = int64(time.Since(t))
			continue
		}
		a <- i
		<-b
	}
	close(a)
}

func pairs(k, n int) float64 {
	var wg sync.WaitGroup
	t0 := time.Now()
	for i := 0; i < k; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			pair(n, nil)
		}()
	}
	wg.Wait()
	return rate(2*k*n, t0)
}

func fanin(producers, per int) float64 {
	c := make(chan int, chanCap)
	t0 := time.Now()
	for i := 0; i < producers; i++ {
		go func() {
			for i := 0; i < per; i++ {
				c <- i
			}
		}()
	}
	for i := 0; i < producers * per; i++ {
		<-c
	}
	return rate(producers*per, t0)
}

func ring(size, hops int) float64 {
	first := make(chan int, 1)
	done := make(chan bool)
	in := first
	for i := 0; i < size; i++ {
		out := make(chan int, 1)
		if i == size-1 {
			out = first
		}
		go func(in, out chan int) {
			for v := range in {
				if v == 0 {
					done <- true
					return
				}
				out <- v - 1
			}
		}(in, out)
		in = out
	}
	t0 := time.Now()
	first <- hops
	<-done
	return rate(hops, t0)
}

func faults(n int) (float64, []int64) {
	exits := make(chan any, 1)
	lat := make([]int64, 0, n)
	var died time.Time
	child := func() {
		defer func() { exits <- recover() }()
		if !died.IsZero() {
			lat = append(lat, int64(time.Since(died)))
		}
		died = time.Now()
		panic("boom")
	}
	t0 := time.Now()
	go child()
	for i := 0; i < n; i++ {
		<-exits
		go child()
	}
	<-exits
	return rate(n, t0), lat
}

func idle() {
	n := 1000000
	cs := make([]chan int, n)
	for i := range cs {
		cs[i] = nil
	}
	r0 := rss()
	t0 := time.Now()
	for i := range cs {
		c := make(chan int)
		cs[i] = c
		go func() { <-c }()
	}
	cr := rate(n, t0)
	time.Sleep(500 * time.Millisecond)
	r1 := rss()
	emit("idle-memory", (r1-r0)/float64(n), "bytes/process (RSS)", "processes", n,
		"rss_total_mb", int(r1/1e6), "create_per_s", cr)
	runtime.KeepAlive(cs)
}

func timers() {
	n := 1000000
	var wg sync.WaitGroup
	wg.Add(n)
	t0 := time.Now()
	for i := 0; i < runtime.NumCPU(); i++ {
		go func() {
			for i := 0; i < n / runtime.NumCPU(); i++ {
				time.AfterFunc(time.Duration(1+i%100)*time.Millisecond, wg.Done)
			}
		}()
	}
	wg.Wait()
	emit("timers", rate(n, t0), "timers/s", "timers", n)
}

func main() {
	switch w := os.Args[1]; w {
	case "spawn":
		spawn()
	case "pingpong":
		pairs(1, 100000)
		n := 1500000
		v := pairs(1, n)
		lat := make([]int64, 300000)
		pair(len(lat), lat)
		emit(w, v, "msgs/s", append([]any{"roundtrips", n}, quant(lat)...)...)
	case "pingpong-many":
		k := 2 * runtime.NumCPU()
		pairs(k, 50000)
		emit(w, pairs(k, 500000), "msgs/s", "pairs", k)
	case "fanin":
		fanin(8, 20000)
		emit(w, fanin(8, 250000), "msgs/s", "producers", 8, "per_producer", 250000, "channel_capacity", chanCap)
	case "ring":
		ring(1000, 100000)
		emit(w, ring(1000, 3000000), "hops/s", "processes", 1000, "hops", 3000000)
	case "fault-recovery":
		faults(20000)
		v, l := faults(500000)
		emit(w, v, "restarts/s", append([]any{"restarts", 500000}, quant(l)...)...)
	case "idle-memory":
		idle()
	case "timers":
		timers()
	default:
		os.Exit(2)
	}
}
