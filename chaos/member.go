package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"genesys-fanout/internal/devstack"
)

// member is one of our processes. It is ended and started again many times.
type member struct {
	world  *world
	name   string // worker-1
	binary string
	dir    string
	links  map[string]*link // to each target by its name, and to Temporal

	// turn is held by the fault that ends or starts the process, so that no other one does so meanwhile.
	turn sync.Mutex

	mu       sync.Mutex
	starts   int
	sender   string // the name and the number of the start: worker-1.3
	process  *devstack.Process
	earlier  []*devstack.Process // those that have ended
	expected bool                // that the process ends
	samples  map[string]float64  // the counters of earlier processes, by their sample
	latest   map[string]float64  // those of the present one
}

const temporalPart = "Temporal"

func (w *world) newMember(name, binary string) (*member, error) {
	m := &member{
		world: w, name: name, binary: binary, dir: filepath.Join(w.dir, name), links: make(map[string]*link),
		samples: make(map[string]float64), latest: make(map[string]float64),
	}
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		return nil, err
	}
	upstreams := map[string]string{temporalPart: w.temporal.Address()}
	for _, t := range w.targets {
		upstreams[t.name] = t.Addr()
	}
	for to, upstream := range upstreams {
		l, err := w.network.connect(name, to, upstream)
		if err != nil {
			return nil, err
		}
		m.links[to] = l
	}
	return m, nil
}

// start starts the process with additional settings, and returns without waiting for it.
func (m *member) start(ctx context.Context, extra ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != nil {
		m.earlier = append(m.earlier, m.process)
		for sample, value := range m.latest {
			m.samples[sample] += value
		}
		clear(m.latest)
	}
	m.starts++
	m.sender = fmt.Sprintf("%s.%d", m.name, m.starts)
	targets := filepath.Join(m.dir, "targets.yaml")
	if err := m.world.writeTargets(m, targets); err != nil {
		return err
	}
	port, err := devstack.FreePort(ctx)
	if err != nil {
		return err
	}
	address := devstack.Loopback(port)
	m.expected = false
	m.process, err = devstack.StartProcess(ctx, devstack.ProcessOptions{
		Path: filepath.Join(m.world.bin, m.binary), Dir: m.dir, HTTPAddr: address,
		Env: append(m.world.settings(m.links[temporalPart].address()), append([]string{
			"FANOUT_TARGETS=" + targets, "FANOUT_HTTP_ADDR=" + address,
		}, extra...)...),
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", m.sender, err)
	}
	go m.watch(ctx, m.process, m.sender)
	return nil
}

// watch starts the process again if it ends although no fault ended it, as a supervisor does, and
// reports that.
func (m *member) watch(ctx context.Context, p *devstack.Process, sender string) {
	<-p.Done()
	m.mu.Lock()
	expected := m.expected || m.process != p
	m.mu.Unlock()
	if expected || ctx.Err() != nil {
		return
	}
	m.turn.Lock()
	defer m.turn.Unlock()
	m.mu.Lock()
	stale := m.process != p
	m.mu.Unlock()
	if stale {
		return
	}
	m.world.endedByItself(sender, p)
	pause(ctx, time.Second)
	if err := m.start(ctx); err != nil {
		m.world.journal.note("%s was not started again: %v", m.name, err)
	}
}

// current returns the process and its sender. end says that the caller will end it.
func (m *member) current(end bool) (*devstack.Process, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expected = m.expected || end
	return m.process, m.sender
}

// lines returns the output of all processes of the member, with the sender before each line.
func (m *member) lines() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for i, p := range append(slices.Clone(m.earlier), m.process) {
		for _, line := range p.Output() {
			all = append(all, fmt.Sprintf("%s.%d: %s", m.name, i+1, line))
		}
	}
	return all
}

// sample reads the process's counters. It does nothing while the process does not answer.
func (m *member) sample(ctx context.Context) {
	p, _ := m.current(false)
	_, body, err := p.Read(ctx, "/metrics")
	if err != nil {
		return
	}
	read := counters(body)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == p {
		m.latest = read
	}
}

// counted returns the counters of all processes of the member. What a process counted between its
// last sample and its end is missing.
func (m *member) counted() map[string]float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := maps.Clone(m.samples)
	for sample, value := range m.latest {
		sum[sample] += value
	}
	return sum
}

func (m *member) close() {
	p, _ := m.current(true)
	if p != nil {
		p.Close()
	}
	for _, l := range m.links {
		l.close()
	}
}
