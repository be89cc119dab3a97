// Command screenshots takes the pictures of Temporal UI in docs/img: it runs the
// demo and photographs its pages with a headless chromium.
//
// A picture is taken once its page shows what it is taken for, never after a
// mere wait. Everything is asked for and served on loopback.
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

// atMost is how long everything may take, from the demo's start to its end.
const atMost = 5 * time.Minute

func main() { os.Exit(run()) }

func run() int {
	bin := flag.String("bin", "bin", "folder of the built demo and worker")
	out := flag.String("out", filepath.Join("docs", "img"), "folder of the pictures")
	flag.Parse()
	signaled, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(signaled, atMost-stopWithin)
	defer cancel()
	if err := takeAll(ctx, *bin, *out); err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		return 1
	}
	return 0
}

func takeAll(ctx context.Context, bin, out string) (err error) {
	s := &scene{}
	defer func() {
		if err = errors.Join(err, s.strike()); err != nil {
			err = fmt.Errorf("%w\n%s\n%s", err, s.demo.tail(), s.worker.tail())
		}
	}()
	if err := s.set(ctx, bin); err != nil {
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
		fmt.Println("took", path)
	}
	return nil
}
