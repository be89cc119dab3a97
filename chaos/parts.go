package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"go.temporal.io/sdk/client"

	"genesys-fanout/internal/devstack"
)

// temporalServer is a Temporal server, and perhaps the database below it.
type temporalServer interface {
	devstack.Outages
	Address() string
	Client(ctx context.Context) (client.Client, error)
	Close()
}

// startKafka starts Apache Kafka behind a link, or the broker in memory if this machine has no Java.
// The brokers tell their clients to connect to the link.
func (w *world) startKafka(ctx context.Context) error {
	dir := filepath.Join(w.dir, "kafka")
	for _, program := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(program); err != nil {
			w.journal.note("the broker is kfake, in memory, because %s is missing", program)
			var err error
			w.kafka, err = devstack.StartKafka(ctx, devstack.KafkaOptions{Backend: devstack.BackendKfake, Dir: dir})
			return err
		}
	}
	port, err := devstack.FreePort(ctx)
	if err != nil {
		return err
	}
	if w.kafkaLink, err = w.network.connect("clients", "Kafka", devstack.Loopback(port)); err != nil {
		return err
	}
	w.journal.note("the broker is Apache Kafka with SASL_SSL")
	w.kafka, err = devstack.StartKafka(ctx, devstack.KafkaOptions{
		Backend: devstack.BackendApache, Dir: dir, Port: port, Advertised: w.kafkaLink.address(),
	})
	return err
}

// startTemporal starts a Temporal server on PostgreSQL, or the dev server with a file if this machine
// has no PostgreSQL.
func (w *world) startTemporal(ctx context.Context) error {
	var err error
	if w.postgres, err = devstack.StartTemporalOnPostgres(ctx); err == nil {
		w.journal.note("Temporal runs on PostgreSQL")
		w.temporal = w.postgres
		return nil
	}
	w.postgres = nil
	w.journal.note("Temporal is the dev server on SQLite, because: %v", err)
	w.temporal, err = devstack.StartTemporal(ctx, devstack.TemporalOptions{
		DBFile:        filepath.Join(w.dir, "temporal.db"),
		SQLitePragmas: []string{"journal_mode=WAL", "synchronous=NORMAL"},
	})
	return err
}

// The size of the tracker's file system. A minute of dead letters fits many times.
const trackerSize = "64m"

// mountTracker makes the tracker's directory. If this process is root, the directory is a file system
// of its own, so that it can be full or read-only.
func (w *world) mountTracker(ctx context.Context) error {
	w.tracker = filepath.Join(w.dir, "tracker")
	if err := os.Mkdir(w.tracker, 0o700); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", "mode=700,size="+trackerSize, "tmpfs", w.tracker).CombinedOutput() //nolint:gosec // our own folder
	if err != nil {
		w.journal.note("the tracker has no file system of its own: %s", lastLine(string(out)))
		return nil
	}
	w.mounted = true
	return nil
}

// remount changes the options of the tracker's file system. It waits until no file is open for
// writing.
func (w *world) remount(ctx context.Context, options string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		out, err := exec.CommandContext(ctx, "mount", "-o", "remount,"+options, w.tracker).CombinedOutput() //nolint:gosec // our own folder
		if err == nil {
			return nil
		}
		if !pause(ctx, 20*time.Millisecond) {
			return fmt.Errorf("remount the tracker with %s: %w: %s", options, err, lastLine(string(out)))
		}
	}
}

func (w *world) unmountTracker() {
	if w.mounted {
		_ = exec.CommandContext(context.Background(), "umount", "-l", w.tracker).Run() //nolint:gosec // our own folder
	}
}
