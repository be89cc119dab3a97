// Command screenshots takes the pictures of Temporal UI in docs/img. It runs the demo and
// takes screenshots of its pages with a headless chromium.
//
// It takes a picture only when the page shows the texts that the picture is about, and
// never after a fixed time. All requests stay on loopback.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// runTimeout bounds the run up to the last picture. The demo's processes then get some
// time to stop.
const runTimeout = 4 * time.Minute

func main() { os.Exit(run()) }

func run() int {
	bin := flag.String("bin", "bin", "directory of the built demo and worker")
	out := flag.String("out", filepath.Join("docs", "img"), "directory for the pictures")
	flag.Parse()
	signaled, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(signaled, runTimeout)
	defer cancel()
	if err := takeAll(ctx, *bin, *out); err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		return 1
	}
	return 0
}

func takeAll(ctx context.Context, bin, out string) (err error) {
	s := &scene{}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.setUp(ctx, bin); err != nil {
		return err
	}
	browser, closeBrowser, err := openBrowser(ctx)
	if err != nil {
		return err
	}
	defer closeBrowser()
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, p := range pictures {
		path := filepath.Join(out, p.file)
		if err := p.take(browser, s, path); err != nil {
			return fmt.Errorf("%s: %w", p.file, err)
		}
		fmt.Println("wrote", path)
	}
	return nil
}
