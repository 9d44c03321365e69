// A server and a client on net/http, for the tests of the kernel tier.
//
//	go-workload serve PORT
//	go-workload get URL…      one keep-alive client; prints "METHOD PATH STATUS BYTES" per request
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

func serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	return http.Serve(listener, http.HandlerFunc(answer))
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

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: go-workload serve PORT | go-workload get URL…")
	}
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve("127.0.0.1:" + os.Args[2])
	case "get":
		err = get(os.Args[2:])
	default:
		err = fmt.Errorf("unknown command %q", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}
