package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/term"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/contactcentre"
	"genesys-fanout/internal/devstack"
)

const (
	events  = 200
	topic   = "genesys-cloud-interaction-events"
	seed    = 2026
	atMost  = 3 * time.Minute // from the first part to the summary
	redraw  = 200 * time.Millisecond
	perLine = 2 * time.Second // where there is no terminal

	// publishing takes a few seconds, so that there is something to watch.
	publishEvery = 20 * time.Millisecond
)

// stage is everything that the demo runs.
type stage struct {
	dir      string
	temporal *devstack.Temporal
	kafka    *devstack.Kafka
	genesys  *devstack.Genesys
	targets  map[string]*devstack.Target
	worker   *devstack.Process
	ingest   *devstack.Process
	ids      []string
	messages []devstack.Message
	rejected map[string]bool // by escaped id
	runs     map[string]int  // by status
	given    map[int]bool    // ports
	tty      bool
}

func demo(ctx context.Context) error {
	s := &stage{targets: make(map[string]*devstack.Target), given: make(map[int]bool), tty: term.IsTerminal(int(os.Stdout.Fd()))}
	s.makeEvents()
	defer s.close()
	err := s.show(ctx)
	if err == nil && staysUp(os.Getenv("DEMO_ONCE"), s.tty) {
		fmt.Println("\nEverything stays up until Ctrl-C.")
		<-ctx.Done()
	}
	return errors.Join(err, s.stop())
}

// staysUp says whether everything runs on after the summary: for whoever sits at
// a terminal, unless DEMO_ONCE says 1 (no) or 0 (yes, without a terminal too).
func staysUp(once string, tty bool) bool {
	switch once {
	case "0":
		return true
	case "1":
		return false
	}
	return tty
}

// show does everything up to the summary, within its time.
func (s *stage) show(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	err := s.play(bounded)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		// Without the cause: who stops the demo early must not read its status as a success.
		return errors.New("stopped before every event was accounted for")
	case bounded.Err() != nil:
		return fmt.Errorf("gave up after %s: %w\n%s\n%s", atMost, err, tail("worker", s.worker), tail("ingest", s.ingest))
	}
	return err
}

func (s *stage) play(ctx context.Context) error {
	for _, act := range []func(context.Context) error{s.startParts, s.startProcesses, s.publishAndWatch, s.awaitRuns} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return s.summarize(ctx)
}

func (s *stage) makeEvents() {
	// They are published faster than they happen: the last just happened then.
	centre := contactcentre.New(seed, time.Now().Add(-time.Minute))
	for range events {
		e := centre.Next()
		s.ids = append(s.ids, e.ID)
		s.messages = append(s.messages, devstack.Message{Topic: topic, Partition: devstack.AnyPartition, Key: []byte(e.ConversationID), Value: e.Message})
	}
	s.rejected = listed(s.ids)
}

// port is the preferred one, or the next free one that no other process of this
// demo was given, and says so.
func (s *stage) port(ctx context.Context, preferred int, what string) (int, error) {
	var config net.ListenConfig
	for p := preferred; p < preferred+100; p++ {
		if s.given[p] { // which may not listen yet
			continue
		}
		listener, err := config.Listen(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(p))
		if err != nil {
			continue
		}
		if p != preferred {
			fmt.Printf("port %d is taken: %s uses %d\n", preferred, what, p)
		}
		s.given[p] = true
		return p, listener.Close()
	}
	return 0, fmt.Errorf("no free port from %d on for %s", preferred, what)
}

func (s *stage) startParts(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "genesys-fanout-demo-"); err != nil {
		return err
	}
	frontend, err := s.port(ctx, 7233, "Temporal")
	if err != nil {
		return err
	}
	ui, err := s.port(ctx, 8233, "Temporal UI")
	if err != nil {
		return err
	}
	fmt.Println("starting a Temporal dev server, a Kafka broker, a Genesys stand-in and three targets …")
	if s.temporal, err = devstack.StartTemporal(ctx, devstack.TemporalOptions{UI: true, UIPort: ui, Port: frontend}); err != nil {
		return err
	}
	if s.kafka, err = devstack.StartKafka(ctx, devstack.KafkaOptions{Backend: devstack.BackendKfake, Dir: s.dir, Topics: map[string]int32{topic: 4}}); err != nil {
		return err
	}
	if s.genesys, err = devstack.StartGenesys(ctx, devstack.GenesysOptions{Details: devstack.DetailsOf(s.kafka, topic)}); err != nil {
		return err
	}
	urls := make(map[string]string)
	for name, script := range scripts(func(id string) bool { return s.rejected[id] }) {
		if s.targets[name], err = devstack.StartTarget(ctx, devstack.TargetOptions{Script: script}); err != nil {
			return err
		}
		urls[name] = s.targets[name].URL()
	}
	return os.WriteFile(s.targetsFile(), []byte(targetsFile(urls)), 0o600)
}

func (s *stage) targetsFile() string { return filepath.Join(s.dir, "targets.yaml") }
func (s *stage) deadLetters() string { return filepath.Join(s.dir, "dead-letters") }

// startProcesses runs the real worker and ingest as a user would.
func (s *stage) startProcesses(ctx context.Context) (err error) {
	shared := []string{
		"TEMPORAL_ADDRESS=" + s.temporal.Address(),
		"FANOUT_TARGETS=" + s.targetsFile(),
	}
	s.worker, err = s.startProcess(ctx, "worker", 9464, append(shared, "FANOUT_DEAD_LETTERS="+s.deadLetters()))
	if err != nil {
		return err
	}
	s.ingest, err = s.startProcess(ctx, "ingest", 9465, append(shared,
		"GENESYS_API_URL="+s.genesys.URL(),
		"GENESYS_CLIENT_ID="+s.genesys.ClientID(),
		"GENESYS_CLIENT_SECRET="+s.genesys.ClientSecret(),
		"KAFKA_SSL_CA_LOCATION="+s.kafka.CAFile(),
	))
	if err != nil {
		return err
	}
	fmt.Println("\nwaiting until both are ready …")
	for _, p := range []*devstack.Process{s.worker, s.ingest} {
		if err := p.WaitReady(ctx); err != nil { // it shows the last lines
			return err
		}
	}
	return nil
}

func (s *stage) startProcess(ctx context.Context, name string, preferred int, env []string) (*devstack.Process, error) {
	p, err := s.port(ctx, preferred, name)
	if err != nil {
		return nil, err
	}
	addr := "127.0.0.1:" + strconv.Itoa(p)
	env = append(env, "FANOUT_HTTP_ADDR="+addr)
	binary, err := beside(name)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir, name+".env")
	if err := os.WriteFile(file, []byte(exports(env)), 0o600); err != nil {
		return nil, err
	}
	fmt.Printf("\n%s, with the settings in %s\n  to run it yourself: . %s && %s\n", binary, file, file, binary)
	return devstack.StartProcess(ctx, devstack.ProcessOptions{Path: binary, Dir: s.dir, Env: env, HTTPAddr: addr})
}

// exports writes settings as a file that a shell can source. They go into a file
// of mode 0600, and not onto the terminal, because the client secret is among them.
func exports(env []string) string {
	var file strings.Builder
	for _, setting := range env {
		name, value, _ := strings.Cut(setting, "=")
		file.WriteString("export " + name + "='" + strings.ReplaceAll(value, "'", `'\''`) + "'\n")
	}
	return file.String()
}

// beside finds a binary in the folder of this one.
func beside(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w; run: make build", err)
	}
	return path, nil
}

// publishAndWatch publishes the events and shows how they arrive, until every
// delivery is settled.
func (s *stage) publishAndWatch(ctx context.Context) error {
	fmt.Printf("\npublishing %d events to %s, %s\n\n", events, topic, s.kafka.Bootstrap())
	published := make(chan error, 1)
	go func() { published <- s.publish(ctx) }()

	show := s.screen()
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", line(s.accounts(), events), ctx.Err())
		case <-s.worker.Done():
			return fmt.Errorf("worker ended too early\n%s", tail("worker", s.worker))
		case <-s.ingest.Done():
			return fmt.Errorf("ingest ended too early\n%s", tail("ingest", s.ingest))
		case err := <-published:
			if err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		case <-ticker.C:
		}
		accounts := s.accounts()
		settled := 0
		for _, a := range accounts {
			settled += a.settled()
		}
		show(accounts, settled)
		if settled >= events*len(targetNames) {
			return nil
		}
	}
}

func (s *stage) publish(ctx context.Context) error {
	for _, m := range s.messages {
		if err := s.kafka.ProduceAll(ctx, m); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(publishEvery):
		}
	}
	return nil
}

func (s *stage) accounts() map[string]account {
	accounts := make(map[string]account)
	for name, target := range s.targets {
		accounts[name] = accountOf(name, target, s.deadLetters(), s.ids)
	}
	return accounts
}

// screen draws the state: a table that stays in its place on a terminal, and
// now and then a line elsewhere.
func (s *stage) screen() func(accounts map[string]account, settled int) {
	if !s.tty {
		var last time.Time
		return func(accounts map[string]account, _ int) {
			if time.Since(last) >= perLine {
				last = time.Now()
				fmt.Println(line(accounts, events))
			}
		}
	}
	bar := progressbar.NewOptions(events*len(targetNames), progressbar.OptionSetWriter(new(strings.Builder)),
		progressbar.OptionSetDescription("settled"), progressbar.OptionShowCount(), progressbar.OptionSetWidth(40))
	drawn := 0
	return func(accounts map[string]account, settled int) {
		if drawn > 0 {
			fmt.Printf("\x1b[%dA\x1b[J", drawn) // up, and clear to the end
		}
		_ = bar.Set(settled) // a bar that cannot be drawn is no reason to stop
		text := tabulate(accounts, events) + "\n" + strings.TrimSpace(bar.String())
		drawn = strings.Count(text, "\n") + 1
		fmt.Println(text)
	}
}

// awaitRuns waits until no run is open: nothing is sent after that, so what is
// counted then is final.
func (s *stage) awaitRuns(ctx context.Context) error {
	c, err := s.temporal.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		if s.runs, err = countRuns(ctx, c); err != nil {
			return err
		}
		if s.runs["Completed"]+s.runs["Failed"] >= events && s.runs["Running"] == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("not every run is closed: %v: %w", s.runs, ctx.Err())
		}
	}
}

// countRuns counts the runs by their status.
func countRuns(ctx context.Context, c client.Client) (map[string]int, error) {
	runs := make(map[string]int)
	for _, status := range []string{"Running", "Completed", "Failed"} {
		counted, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: fmt.Sprintf("ExecutionStatus=%q", status)})
		if err != nil {
			return nil, fmt.Errorf("count the runs: %w", err)
		}
		runs[status] = int(counted.Count)
	}
	return runs, nil
}

// summarize prints what became of every event and says whether that is right.
func (s *stage) summarize(ctx context.Context) error {
	accounts := s.accounts()
	fmt.Printf("\n%s\n\n", tabulate(accounts, events))
	var wrong []string
	for _, name := range targetNames {
		wrong = append(wrong, accounts[name].check(name, s.ids, s.rejected)...)
	}
	records, err := readRecords(s.deadLetters())
	if err != nil {
		return err
	}
	wrong = append(wrong, checkRecords(records, s.ids, s.rejected)...)
	wrong = append(wrong, checkRuns(s.runs, events, len(s.rejected))...)
	url, err := s.failedRun(ctx)
	if err != nil {
		wrong = append(wrong, err.Error())
	}
	fmt.Printf("this demo's files: %s (kept)\n", s.dir)
	fmt.Printf("dead letters:      %s (%d files)\n", s.deadLetters(), len(records))
	fmt.Printf("list them:         FANOUT_DEAD_LETTERS=%s bin/deadletter list\n", s.deadLetters())
	fmt.Printf("Temporal UI:       %s\n", s.temporal.UIURL())
	fmt.Printf("all failed runs:   ExecutionStatus=\"Failed\" as the filter of its list of workflows (%d runs)\n", s.runs["Failed"])
	fmt.Printf("one failed run:    %s\n", url)
	if len(wrong) > 0 {
		return fmt.Errorf("not what was expected:\n%s", strings.Join(shortened(wrong), "\n"))
	}
	fmt.Printf("checked:           %d events, each at every target exactly once, or a dead letter where it was rejected\n", events)
	return nil
}

// failedRun is the URL of the run of the first rejected event.
func (s *stage) failedRun(ctx context.Context) (string, error) {
	c, err := s.temporal.Client(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	i := slices.IndexFunc(s.ids, func(id string) bool { return s.rejected[event.Escape(id)] })
	id := fanout.WorkflowID(s.ids[i])
	described, err := c.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return "", fmt.Errorf("the run %s: %w", id, err)
	}
	run := described.GetWorkflowExecutionInfo()
	if run.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_FAILED {
		err = fmt.Errorf("the run %s is %s, though %s rejected its event", id, run.GetStatus(), compliance)
	}
	return fmt.Sprintf("%s/namespaces/%s/workflows/%s/%s/history", s.temporal.UIURL(), devstack.Namespace, id, run.GetExecution().GetRunId()), err
}

// stop ends both processes as a user would, first what starts work.
func (s *stage) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(stopProcess(ctx, "ingest", s.ingest), stopProcess(ctx, "worker", s.worker))
}

func stopProcess(ctx context.Context, name string, p *devstack.Process) error {
	if p == nil {
		return nil
	}
	code, err := p.Stop(ctx)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s ended with %d\n%s", name, code, tail(name, p))
	}
	return err
}

// tail is the end of what a process printed.
func tail(name string, p *devstack.Process) string {
	if p == nil {
		return name + " was not started"
	}
	lines := p.Output()
	return name + " printed last:\n" + strings.Join(lines[max(0, len(lines)-20):], "\n")
}

func (s *stage) close() {
	for _, p := range []*devstack.Process{s.ingest, s.worker} {
		if p != nil {
			p.Close()
		}
	}
	for _, target := range s.targets {
		if target != nil {
			target.Close()
		}
	}
	if s.genesys != nil {
		s.genesys.Close()
	}
	if s.kafka != nil {
		s.kafka.Close()
	}
	if s.temporal != nil {
		s.temporal.Close()
	}
}
