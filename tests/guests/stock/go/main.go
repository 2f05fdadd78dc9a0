// A command as stock Go makes it: core WebAssembly on WASI preview 1. It ends through proc_exit also when all is well.
package main

import (
	"fmt"
	"os"
	"sort"
	"sync"
)

func main() {
	// Goroutines, a heap that grows, and maps: more of the runtime than a greeting needs.
	var group sync.WaitGroup
	results := make([]int, 8)
	for i := range results {
		group.Add(1)
		go func() {
			defer group.Done()
			words := map[int][]byte{}
			for j := 0; j < 1000; j++ {
				words[j] = make([]byte, 1024)
			}
			results[i] = len(words) * i
		}()
	}
	group.Wait()
	sort.Sort(sort.Reverse(sort.IntSlice(results)))
	fmt.Println("go:", results[0], os.Args[1:], os.Getenv("GIVEN"))
	if len(os.Args) > 1 && os.Args[1] == "fail" {
		os.Exit(3)
	}
}
