package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/client"

	"genesys-fanout/internal/devstack"
)

// The names of the topic, the consumer group and the task queue.
const (
	topic      = "interaction-events"
	group      = "chaos"
	taskQueue  = "chaos"
	partitions = 4
)

// world is every part of a run: the broker, Temporal, the targets, the tracker, our processes, and
// the links between them.
type world struct {
	options options
	random  *rand.Rand // of the schedule and the operator; each fault has its own, made of it
	journal *journal
	dir     string
	bin     string // folder of the binaries with failpoints

	kafka     *devstack.Kafka
	kafkaLink *link // nil if the broker is in this process
	temporal  temporalServer
	postgres  *devstack.TemporalOnPostgres // the same as temporal, or nil
	client    client.Client                // not by a link
	network   *network
	weather   weather
	targets   map[string]*target
	tracker   string
	mounted   bool      // the tracker has a file system of its own
	members   []*member // two workers, then two ingests

	temporalTurn sync.Mutex // held by the fault that ends or starts Temporal
	replaying    sync.Mutex // held by the command that starts runs, and by a reset

	mu      sync.Mutex
	list    list
	endings []string // what the members that ended by themselves said

	traffic *traffic
}

// build starts every part, and waits until the members are ready.
func build(ctx context.Context, o options, j *journal) (_ *world, err error) {
	w := &world{options: o, random: newRandom(o.seed), journal: j, bin: o.bin, network: newNetwork(), targets: make(map[string]*target)}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.dir, err = os.MkdirTemp("", "fanout-chaos-"); err != nil {
		return nil, err
	}
	if err := w.mountTracker(ctx); err != nil {
		return nil, err
	}
	if err := w.startKafka(ctx); err != nil {
		return nil, err
	}
	if err := w.kafka.CreateTopic(ctx, topic, partitions); err != nil {
		return nil, err
	}
	if err := w.startTemporal(ctx); err != nil {
		return nil, err
	}
	if w.client, err = w.temporal.Client(ctx); err != nil {
		return nil, err
	}
	for _, s := range append(specs(), extra()) {
		t, err := devstack.StartTarget(ctx, devstack.TargetOptions{Script: s.script(&w.weather)})
		if err != nil {
			return nil, err
		}
		w.targets[s.name] = &target{s, t}
	}
	for _, s := range specs() {
		w.list.names = append(w.list.names, s.name)
	}
	w.traffic = newTraffic(o.seed)
	for _, name := range []string{"worker-1", "worker-2", "ingest-1", "ingest-2"} {
		m, err := w.newMember(name, name[:len(name)-len("-1")])
		if err != nil {
			return nil, err
		}
		w.members = append(w.members, m)
	}
	for _, m := range w.members {
		if err := m.start(ctx); err != nil {
			return nil, err
		}
	}
	return w, w.waitReady(ctx)
}

// newRandom returns a source of random numbers that a seed determines.
func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }

// settings are the settings that all our processes share.
func (w *world) settings(temporalAddress string) []string {
	return append([]string{
		"TEMPORAL_ADDRESS=" + temporalAddress,
		"FANOUT_TASK_QUEUE=" + taskQueue,
		"FANOUT_DEAD_LETTERS=" + w.tracker,
		"FANOUT_LOG_LEVEL=info",
	}, w.kafka.Settings(topic, group)...)
}

func (w *world) ingests() []*member { return w.members[2:] }

// waitReady waits until every member is ready.
func (w *world) waitReady(ctx context.Context) error {
	for _, m := range w.members {
		p, sender := m.current(false)
		if err := p.WaitReady(ctx); err != nil {
			return fmt.Errorf("%s: %w", sender, err)
		}
	}
	return nil
}

// endedByItself reports a process that no fault ended.
func (w *world) endedByItself(sender string, p *devstack.Process) {
	lines := p.Output()
	last := ""
	if len(lines) > 0 {
		last = lines[len(lines)-1]
	}
	w.journal.note("%s ended by itself: %s", sender, last)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endings = append(w.endings, sender+": "+last)
}

// sampleCounters reads the counters of the members until ctx ends.
func (w *world) sampleCounters(ctx context.Context) {
	every(ctx, 2*time.Second, func() {
		for _, m := range w.members {
			m.sample(ctx)
		}
	})
}

// every calls f again and again until ctx ends.
func every(ctx context.Context, interval time.Duration, f func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			f()
		case <-ctx.Done():
			return
		}
	}
}

// pause waits. It returns false if ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// logsAbout returns the log lines of all members that contain a text.
func (w *world) logsAbout(text string) []string {
	var found []string
	for _, m := range w.members {
		found = append(found, containing(m.lines(), text)...)
	}
	slices.Sort(found)
	return found
}

func (w *world) close() {
	for _, m := range w.members {
		m.close()
	}
	for _, t := range w.targets {
		t.Close()
	}
	if w.client != nil {
		w.client.Close()
	}
	if w.temporal != nil {
		w.temporal.Close()
	}
	if w.kafka != nil {
		w.kafka.Close()
	}
	w.unmountTracker()
	if w.dir != "" && !w.options.keep {
		_ = os.RemoveAll(w.dir)
	}
}
