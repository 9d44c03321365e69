// A server and a client on net/http, for the tests of the kernel tier.
//
//	go-workload serve PORT
//	go-workload get URL…      one keep-alive client; prints "METHOD PATH STATUS BYTES" per request
//	go-workload causes PORT URL [POLL]    a server that answers GET /in/ID after four calls of URL/out/ID/0
//	                          to 3; with POLL, a method, it requests URL/polled on its own, too
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	calls     = 4
	pollEvery = 5 * time.Millisecond
)

// answer echoes the body of /echo/ID, streams three pieces for /stream/ID, and answers
// /status/CODE/ID with that status.
func answer(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case parts[0] == "echo":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "cannot read the body", http.StatusBadRequest)
			return
		}
		_, _ = w.Write(body)
	case parts[0] == "stream":
		for piece := 0; piece < 3; piece++ {
			fmt.Fprintf(w, "piece %d\n", piece)
			w.(http.Flusher).Flush()
		}
	case parts[0] == "status" && len(parts) > 1:
		code, err := strconv.Atoi(parts[1])
		if err != nil {
			code = http.StatusBadRequest
		}
		w.WriteHeader(code)
	default:
		http.NotFound(w, r)
	}
}

func listen(address string, handler http.Handler) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	return http.Serve(listener, handler)
}

func get(addresses []string) error {
	for _, address := range addresses {
		target, err := url.Parse(address)
		if err != nil {
			return err
		}
		response, err := http.Get(address)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		if err := response.Body.Close(); err != nil {
			return err
		}
		fmt.Printf("GET %s %d %d\n", target.Path, response.StatusCode, len(body))
	}
	return nil
}

func call(method, address string) error {
	request, err := http.NewRequest(method, address, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	return response.Body.Close()
}

func pollOnAndOn(method, address string) {
	for {
		if err := call(method, address); err != nil {
			log.Fatal(err)
		}
		time.Sleep(pollEvery)
	}
}

func causes(address, upstream string) error {
	answer := func(w http.ResponseWriter, r *http.Request) {
		ident := strings.TrimPrefix(r.URL.Path, "/in/")
		for number := 0; number < calls; number++ {
			if err := call("GET", fmt.Sprintf("%s/out/%s/%d", upstream, ident, number)); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
		}
		fmt.Fprint(w, "done")
	}
	return listen(address, http.HandlerFunc(answer))
}

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: go-workload serve PORT | get URL… | causes PORT URL [POLL]")
	}
	var err error
	switch os.Args[1] {
	case "serve":
		err = listen("127.0.0.1:"+os.Args[2], http.HandlerFunc(answer))
	case "get":
		err = get(os.Args[2:])
	case "causes":
		if len(os.Args) > 4 {
			go pollOnAndOn(os.Args[4], os.Args[3]+"/polled")
		}
		err = causes("127.0.0.1:"+os.Args[2], os.Args[3])
	default:
		err = fmt.Errorf("unknown command %q", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}
