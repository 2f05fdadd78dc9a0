// The workloads with goroutines and channels. go WORKLOAD -> one line of JSON
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
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
	for i := 0; i < producers*per; i++ {
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
			for i := 0; i < n/runtime.NumCPU(); i++ {
				time.AfterFunc(time.Duration(1+i%100)*time.Millisecond, wg.Done)
			}
		}()
	}
	wg.Wait()
	emit("timers", rate(n, t0), "timers/s", "timers", n)
}

var filled = bytes.Repeat([]byte{7}, 64<<10)

// Chunks that are filled and handed over; their memory is used again.
func stream(chunk int, span time.Duration) float64 {
	pool := sync.Pool{New: func() any {
		b := make([]byte, chunk)
		return &b
	}}
	c := make(chan *[]byte, 16)
	go func() {
		for t0 := time.Now(); time.Since(t0) < span; {
			for i := 0; i < 64; i++ {
				b := pool.Get().(*[]byte)
				copy(*b, filled)
				c <- b
			}
		}
		close(c)
	}()
	t0, sum := time.Now(), 0
	for b := range c {
		if (*b)[chunk-1] != 7 {
			panic("a chunk is not filled")
		}
		sum += chunk
		pool.Put(b)
	}
	return float64(sum) / 1e6 / time.Since(t0).Seconds()
}

// The same through io.Pipe, which copies out of the writer's buffer into the reader's.
func streamPipe(chunk int, span time.Duration) float64 {
	r, w := io.Pipe()
	go func() {
		b := make([]byte, chunk)
		for t0 := time.Now(); time.Since(t0) < span; {
			for i := 0; i < 64; i++ {
				copy(b, filled)
				w.Write(b)
			}
		}
		w.Close()
	}()
	b := make([]byte, chunk)
	t0, sum := time.Now(), 0
	for {
		n, err := r.Read(b)
		if err != nil {
			return float64(sum) / 1e6 / time.Since(t0).Seconds()
		}
		sum += n
	}
}

func fanout(subscribers, n int) float64 {
	cs := make([]chan int, subscribers)
	var wg sync.WaitGroup
	wg.Add(subscribers)
	for i := range cs {
		c := make(chan int, chanCap)
		cs[i] = c
		go func() {
			for i := 0; i < n; i++ {
				<-c
			}
			wg.Done()
		}()
	}
	t0 := time.Now()
	for i := 0; i < n; i++ {
		for _, c := range cs {
			c <- i
		}
	}
	wg.Wait()
	return rate(subscribers*n, t0)
}

// Prints its port, and serves until its input ends.
func serve(each func(net.Conn)) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				panic(err)
			}
			go func() {
				defer c.Close()
				each(c)
			}()
		}
	}()
	io.Copy(io.Discard, os.Stdin)
}

func echo(c net.Conn) {
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

func echoOnce(c net.Conn) {
	b := make([]byte, 1)
	if _, err := c.Read(b); err == nil {
		c.Write(b)
	}
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
	case "stream-64k", "stream-4k", "stream-64k-pipe", "stream-4k-pipe":
		chunk, f := 64<<10, stream
		if strings.HasPrefix(w, "stream-4k") {
			chunk = 4 << 10
		}
		if strings.HasSuffix(w, "-pipe") {
			f = streamPipe
		}
		f(chunk, 200*time.Millisecond)
		emit(w, f(chunk, 2*time.Second), "MB/s", "chunk", chunk)
	case "pubsub-fanout":
		fanout(1000, 200)
		emit(w, fanout(1000, 4000), "deliveries/s", "subscribers", 1000, "channel_capacity", chanCap)
	case "tcp-echo":
		serve(echo)
	case "connection-storm":
		serve(echoOnce)
	default:
		os.Exit(2)
	}
}
