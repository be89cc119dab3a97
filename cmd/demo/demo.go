package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

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
	events    = 200
	topic     = "genesys-cloud-interaction-events"
	seed      = 2026
	timeLimit = 3 * time.Minute // from the first part to the summary

	// publishInterval makes publishing take a few seconds, so that there is something to watch.
	publishInterval = 20 * time.Millisecond
)

// demo is one run of the demo, with all parts that it has started.
type demo struct {
	dir        string
	temporal   *devstack.Temporal
	kafka      *devstack.Kafka
	genesys    *devstack.Genesys
	targets    map[string]*devstack.Target
	worker     *devstack.Process
	ingest     *devstack.Process
	ids        []string
	messages   []devstack.Message
	rejected   map[string]bool // the events that compliance rejects, by escaped id
	runs       map[string]int  // by status
	usedPorts  map[int]bool
	onTerminal bool // standard output is a terminal
}

// runDemo runs the demo once. On a terminal it then keeps everything running until ctx ends.
func runDemo(ctx context.Context) error {
	d := &demo{targets: make(map[string]*devstack.Target), usedPorts: make(map[int]bool), onTerminal: term.IsTerminal(int(os.Stdout.Fd()))}
	d.makeEvents()
	defer d.close()
	err := d.runWithinTimeLimit(ctx)
	if err == nil && keepsRunning(os.Getenv("DEMO_ONCE"), d.onTerminal) {
		fmt.Println("\nEverything stays up until Ctrl-C.")
		<-ctx.Done()
	}
	return errors.Join(err, d.stopProcesses())
}

// keepsRunning reports whether everything keeps running after the summary. It does on a
// terminal, unless DEMO_ONCE is 1 (never) or 0 (always).
func keepsRunning(once string, onTerminal bool) bool {
	switch once {
	case "0":
		return true
	case "1":
		return false
	}
	return onTerminal
}

// runWithinTimeLimit runs all steps. If they fail or take too long, the error has the last
// output of both processes.
func (d *demo) runWithinTimeLimit(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	err := d.runSteps(limited)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		// It does not wrap context.Canceled, with which process.Main would exit with 0.
		return errors.New("the demo was stopped before it was complete")
	case limited.Err() != nil:
		return fmt.Errorf("the demo was not complete after %s: %w\n%s\n%s", timeLimit, err, lastOutput("worker", d.worker), lastOutput("ingest", d.ingest))
	}
	return err
}

func (d *demo) runSteps(ctx context.Context) error {
	for _, step := range []func(context.Context) error{d.startParts, d.startProcesses, d.publishAndWatch, d.awaitRuns, d.printSummary} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// makeEvents makes the events that are published. The last of them has just happened then.
func (d *demo) makeEvents() {
	centre := contactcentre.New(seed, time.Now().Add(-time.Minute))
	for range events {
		e := centre.Next()
		d.ids = append(d.ids, e.ID)
		d.messages = append(d.messages, devstack.Message{Topic: topic, Partition: devstack.AnyPartition, Key: []byte(e.ConversationID), Value: e.Message})
	}
	d.rejected = everyTenthOf(d.ids)
}

// startParts starts everything but the processes of the product, and writes targets.yaml.
func (d *demo) startParts(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "genesys-fanout-demo-"); err != nil {
		return err
	}
	frontend, err := d.freePort(ctx, 7233, "Temporal")
	if err != nil {
		return err
	}
	ui, err := d.freePort(ctx, 8233, "Temporal UI")
	if err != nil {
		return err
	}
	fmt.Println("starting a Temporal dev server, a Kafka broker, a Genesys stand-in and three targets …")
	if d.temporal, err = devstack.StartTemporal(ctx, devstack.TemporalOptions{UI: true, UIPort: ui, Port: frontend}); err != nil {
		return err
	}
	if d.kafka, err = devstack.StartKafka(ctx, devstack.KafkaOptions{Backend: devstack.BackendKfake, Dir: d.dir, Topics: map[string]int32{topic: 4}}); err != nil {
		return err
	}
	if d.genesys, err = devstack.StartGenesys(ctx, devstack.GenesysOptions{Details: devstack.DetailsOf(d.kafka, topic)}); err != nil {
		return err
	}
	urls := make(map[string]string)
	for name, script := range targetScripts(func(id string) bool { return d.rejected[id] }) {
		if d.targets[name], err = devstack.StartTarget(ctx, devstack.TargetOptions{Script: script}); err != nil {
			return err
		}
		urls[name] = d.targets[name].URL()
	}
	return os.WriteFile(d.targetsFile(), []byte(targetsYAML(urls)), 0o600)
}

func (d *demo) targetsFile() string { return filepath.Join(d.dir, "targets.yaml") }
func (d *demo) deadLetters() string { return filepath.Join(d.dir, "dead-letters") }

// publishAndWatch publishes the events and shows the progress, until each event is delivered
// or a dead letter at each target.
func (d *demo) publishAndWatch(ctx context.Context) error {
	fmt.Printf("\npublishing %d events to %s, %s\n\n", events, topic, d.kafka.Bootstrap())
	published := make(chan error, 1)
	go func() { published <- d.publish(ctx) }()

	printProgress := d.progressPrinter()
	ticker := time.NewTicker(redrawInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", progressLine(d.results(), events), ctx.Err())
		case <-d.worker.Done():
			return fmt.Errorf("worker has ended before the demo was complete\n%s", lastOutput("worker", d.worker))
		case <-d.ingest.Done():
			return fmt.Errorf("ingest has ended before the demo was complete\n%s", lastOutput("ingest", d.ingest))
		case err := <-published:
			if err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		case <-ticker.C:
		}
		results := d.results()
		done := 0
		for _, r := range results {
			done += r.done()
		}
		printProgress(results, done)
		if done >= events*len(targetNames) {
			return nil
		}
	}
}

func (d *demo) publish(ctx context.Context) error {
	for _, m := range d.messages {
		if err := d.kafka.ProduceAll(ctx, m); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(publishInterval):
		}
	}
	return nil
}

// results returns the result of each target so far.
func (d *demo) results() map[string]targetResult {
	results := make(map[string]targetResult)
	for name, target := range d.targets {
		results[name] = resultOf(name, target, d.deadLetters(), d.ids)
	}
	return results
}

// awaitRuns waits until no run is open. No request is sent after that, so the summary is
// final.
func (d *demo) awaitRuns(ctx context.Context) error {
	c, err := d.temporal.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	ticker := time.NewTicker(redrawInterval)
	defer ticker.Stop()
	for {
		if d.runs, err = countRuns(ctx, c); err != nil {
			return err
		}
		if d.runs["Completed"]+d.runs["Failed"] >= events && d.runs["Running"] == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("some runs are still open: %v: %w", d.runs, ctx.Err())
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

// printSummary prints the result of every target and where to look at it. The error lists
// the results that are not as expected.
func (d *demo) printSummary(ctx context.Context) error {
	results := d.results()
	fmt.Printf("\n%s\n\n", progressTable(results, events))
	var problems []string
	for _, name := range targetNames {
		problems = append(problems, results[name].check(name, d.ids, d.rejected)...)
	}
	records, err := readRecords(d.deadLetters())
	if err != nil {
		return err
	}
	problems = append(problems, checkRecords(records, d.ids, d.rejected)...)
	problems = append(problems, checkRuns(d.runs, events, len(d.rejected))...)
	url, err := d.failedRunURL(ctx)
	if err != nil {
		problems = append(problems, err.Error())
	}
	fmt.Printf("files of the demo: %s (they stay there)\n", d.dir)
	fmt.Printf("dead letters:      %s (%d files)\n", d.deadLetters(), len(records))
	fmt.Printf("list them:         FANOUT_DEAD_LETTERS=%s bin/deadletter list\n", d.deadLetters())
	fmt.Printf("Temporal UI:       %s\n", d.temporal.UIURL())
	fmt.Printf("all failed runs:   filter its list of workflows by ExecutionStatus=\"Failed\" (%d runs)\n", d.runs["Failed"])
	fmt.Printf("one failed run:    %s\n", url)
	if len(problems) > 0 {
		return fmt.Errorf("the results are not as expected:\n%s", strings.Join(limitProblems(problems), "\n"))
	}
	fmt.Printf("checked:           each of the %d events was delivered to each target exactly once, or is a dead letter if the target rejected it\n", events)
	return nil
}

// failedRunURL returns the address of the run of the first rejected event in Temporal UI.
// The error says that the run did not fail.
func (d *demo) failedRunURL(ctx context.Context) (string, error) {
	c, err := d.temporal.Client(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	i := slices.IndexFunc(d.ids, func(id string) bool { return d.rejected[event.Escape(id)] })
	id := fanout.WorkflowID(d.ids[i])
	described, err := c.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return "", fmt.Errorf("describe the run %s: %w", id, err)
	}
	run := described.GetWorkflowExecutionInfo()
	if run.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_FAILED {
		err = fmt.Errorf("the run %s is %s, although %s rejected its event", id, run.GetStatus(), compliance)
	}
	return fmt.Sprintf("%s/namespaces/%s/workflows/%s/%s/history", d.temporal.UIURL(), devstack.Namespace, id, run.GetExecution().GetRunId()), err
}

// close ends all parts, and kills the processes if they still run.
func (d *demo) close() {
	for _, p := range []*devstack.Process{d.ingest, d.worker} {
		if p != nil {
			p.Close()
		}
	}
	for _, target := range d.targets {
		if target != nil {
			target.Close()
		}
	}
	if d.genesys != nil {
		d.genesys.Close()
	}
	if d.kafka != nil {
		d.kafka.Close()
	}
	if d.temporal != nil {
		d.temporal.Close()
	}
}
