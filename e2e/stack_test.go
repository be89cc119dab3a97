// Package e2e tests the built binaries from outside, with a Temporal server, a Kafka broker and
// targets that they reach over the network. The tests see only what a user sees: requests, files,
// output, exit statuses, metrics, and the runs in Temporal.
package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"genesys-fanout/deadletter"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
)

// shared are the servers that most tests share. Each test has its own topic, consumer group, task
// queue and event IDs there.
var shared struct {
	bin      string
	temporal *devstack.Temporal
	kafka    *devstack.Kafka
}

func TestMain(m *testing.M) {
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "fanout-e2e-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	shared.bin = filepath.Join(dir, "bin")
	build := exec.CommandContext(ctx, "go", "build", "-o", shared.bin+"/", "../cmd/worker", "../cmd/ingest", "../cmd/deadletter")
	if out, err := build.CombinedOutput(); err != nil {
		return fail(fmt.Errorf("build the binaries: %w\n%s", err, out))
	}
	if shared.temporal, err = devstack.StartTemporal(ctx, devstack.TemporalOptions{}); err != nil {
		return fail(err)
	}
	defer shared.temporal.Close()
	if shared.kafka, err = devstack.StartKafka(ctx, devstack.KafkaOptions{Dir: dir}); err != nil {
		return fail(err)
	}
	defer shared.kafka.Close()
	return m.Run()
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// stack is the fan-out of one test, with its targets.
type stack struct {
	t        *testing.T
	ctx      context.Context
	temporal *devstack.Temporal
	kafka    *devstack.Kafka
	client   client.Client
	name     string // of the topic, the consumer group and the task queue
	dir      string
	targets  map[string]*devstack.Target
}

// targetScripts are the scripts of a stack's targets, by the target's name.
type targetScripts map[string]devstack.Script

// The lists of targets that several tests use.
const (
	oneTarget = `
  - {name: analytics, url: $ANALYTICS}
`
	analyticsAndNotification = `
  - {name: analytics, url: $ANALYTICS}
  - {name: notification, url: $NOTIFICATION}
`
	analyticsAndCompliance = `
  - {name: analytics, url: $ANALYTICS}
  - {name: compliance, url: $COMPLIANCE}
`
	threeTargets = `
  - {name: analytics, url: $ANALYTICS}
  - {name: notification, url: $NOTIFICATION}
  - {name: compliance, url: $COMPLIANCE}
`
	unreachableTarget = `
  - {name: analytics, url: 'http://127.0.0.1:1'}
`
)

// newStack starts targets and writes targets.yaml. yaml is the list in that file, and begins with a
// line break. In yaml, $NAME is the URL of the target name, and $ONE_NAME that of the target one-name.
func newStack(t *testing.T, scripts targetScripts, yaml string) *stack {
	t.Helper()
	return newStackOn(t, shared.temporal, shared.kafka, scripts, yaml)
}

func newStackOn(t *testing.T, temporal *devstack.Temporal, kafka *devstack.Kafka, scripts targetScripts, yaml string) *stack {
	t.Helper()
	ctx := await.Context(t)
	s := &stack{
		t: t, ctx: ctx, temporal: temporal, kafka: kafka,
		name: topicName(t.Name()) + "-" + uuid.NewString()[:8], dir: t.TempDir(),
		targets: make(map[string]*devstack.Target),
	}
	for name, script := range scripts {
		target, err := devstack.StartTarget(ctx, devstack.TargetOptions{Script: script, Headers: []string{"Idempotency-Key", "X-Genesys-Event-Type", "X-Genesys-Interaction-ID", "Content-Type"}})
		require.NoError(t, err)
		t.Cleanup(target.Close)
		s.targets[name] = target
		await.Watch(t, name, func() any { return target.Progress() })
	}
	await.Watch(t, "dead letters", func() any { return s.recordProgress() })
	s.writeTargets(yaml)
	require.NoError(t, kafka.CreateTopic(ctx, s.name, 4))
	c, err := temporal.Client(ctx)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	s.client = c
	return s
}

// notInTopics matches what Kafka does not allow in the name of a topic. kfake allows more.
var notInTopics = regexp.MustCompile(`[^a-z0-9._-]+`)

// topicName returns the name of a test as a name that Kafka allows.
func topicName(test string) string {
	return notInTopics.ReplaceAllLiteralString(strings.ToLower(test), "-")
}

// ownKafka starts a broker that a test may stop or change.
func ownKafka(t *testing.T, options devstack.KafkaOptions) *devstack.Kafka {
	t.Helper()
	options.Dir = t.TempDir()
	kafka, err := devstack.StartKafka(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(kafka.Close)
	return kafka
}

// ownTemporal starts a dev server that a test may kill, and start again with the same data.
func ownTemporal(t *testing.T) *devstack.Temporal {
	t.Helper()
	temporal, err := devstack.StartTemporal(t.Context(), devstack.TemporalOptions{DBFile: filepath.Join(t.TempDir(), "temporal.db")})
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	return temporal
}

// writeTargets writes targets.yaml. yaml is as in newStack.
func (s *stack) writeTargets(yaml string) {
	s.t.Helper()
	for name, target := range s.targets {
		yaml = strings.ReplaceAll(yaml, "$"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")), target.URL())
	}
	require.NoError(s.t, os.WriteFile(s.targetsFile(), []byte("targets:"+yaml), 0o600))
}

func (s *stack) targetsFile() string { return filepath.Join(s.dir, "targets.yaml") }
func (s *stack) deadLetters() string { return filepath.Join(s.dir, "dead-letters") }

// env returns the settings that both processes need, followed by extra ones, which take precedence.
func (s *stack) env(extra ...string) []string {
	return append([]string{
		"TEMPORAL_ADDRESS=" + s.temporal.Address(),
		"FANOUT_TARGETS=" + s.targetsFile(),
		"FANOUT_TASK_QUEUE=" + s.name,
		"FANOUT_DEAD_LETTERS=" + s.deadLetters(),
	}, slices.Concat(s.kafka.Settings(s.name, s.name), extra)...)
}

// start starts a binary and returns at once.
func (s *stack) start(binary string, extra ...string) *devstack.Process {
	s.t.Helper()
	port, err := devstack.FreePort(s.ctx)
	require.NoError(s.t, err)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	p, err := devstack.StartProcess(s.ctx, devstack.ProcessOptions{
		Path: filepath.Join(shared.bin, binary), Dir: s.dir,
		Env: s.env(append([]string{"FANOUT_HTTP_ADDR=" + addr}, extra...)...), HTTPAddr: addr,
	})
	require.NoError(s.t, err)
	s.t.Cleanup(func() {
		p.Close()
		if s.t.Failed() {
			s.t.Logf("%s printed:\n%s", binary, p.Text())
		}
	})
	return p
}

// run starts a binary and waits until it is ready.
func (s *stack) run(binary string, extra ...string) *devstack.Process {
	s.t.Helper()
	p := s.start(binary, extra...)
	require.NoError(s.t, p.WaitReady(s.ctx), "%s:\n%s", binary, p.Text())
	return p
}

// id returns the ID of the nth event, which no other test uses.
func (s *stack) id(n int) string { return fmt.Sprintf("%s-%04d", s.name, n) }

// flatEvent returns the message of a flat event.
func flatEvent(id, kind string) []byte {
	return fmt.Appendf(nil, `{"event_id": %q, "event_type": %q, "interaction": {"id": "conv-%s", "channel_type": "voice", "status": "active"}, "note": "<ä & ü>"}`, id, kind, id)
}

// publish writes n flat events to the topic, spread over its partitions. Their numbers start at from.
func (s *stack) publish(from, n int) {
	s.t.Helper()
	messages := make([]devstack.Message, 0, n)
	for i := from; i < from+n; i++ {
		messages = append(messages, devstack.Message{Topic: s.name, Partition: int32(i % 4), Value: flatEvent(s.id(i), "conversation.started")})
	}
	require.NoError(s.t, s.kafka.ProduceAll(s.ctx, messages...))
}

// produce writes one message to the first partition.
func (s *stack) produce(value []byte) {
	s.t.Helper()
	require.NoError(s.t, s.kafka.Produce(s.ctx, s.name, 0, nil, value))
}

// waitFor waits until a condition of a target is true.
func (s *stack) waitFor(target string, condition func(*devstack.Target) bool) {
	s.t.Helper()
	await.True(s.t, "requests at "+target, func() bool { return condition(s.targets[target]) })
}

func hasEvents(n int) func(*devstack.Target) bool {
	return func(t *devstack.Target) bool { return t.Events() >= n }
}

// eventually waits until a condition is true. The wait continues while requests arrive at the
// targets or dead letters change.
func (s *stack) eventually(condition func() bool, message string, args ...any) {
	s.t.Helper()
	await.True(s.t, fmt.Sprintf(message, args...), condition)
}

// waitCommitted waits until the committed offsets of all partitions add up to n.
func (s *stack) waitCommitted(n int64) {
	s.t.Helper()
	await.Equal(s.t, "committed messages", n, s.committed)
}

func (s *stack) committed() int64 {
	offsets, err := s.kafka.Committed(s.ctx, s.name)
	if err != nil {
		return -1
	}
	return offsets.Sum(s.name)
}

// status returns the status of the run of an event.
func (s *stack) status(eventID string) enums.WorkflowExecutionStatus {
	d, err := s.client.DescribeWorkflowExecution(s.ctx, fanout.WorkflowID(eventID), "")
	if err != nil {
		return enums.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED
	}
	return d.GetWorkflowExecutionInfo().GetStatus()
}

func (s *stack) waitStatus(eventID string, want enums.WorkflowExecutionStatus) {
	s.t.Helper()
	await.Equal(s.t, "the status of the run of "+eventID, want, func() enums.WorkflowExecutionStatus { return s.status(eventID) })
}

// record waits for a dead letter and reads its file, as a user's script does.
func (s *stack) record(target, eventID string) deadletter.Record {
	s.t.Helper()
	file := filepath.Join(s.deadLetters(), deadletter.FileName(target, eventID))
	s.eventually(func() bool { _, err := os.Stat(file); return err == nil }, "dead letter %s", file)
	data, err := os.ReadFile(file)
	require.NoError(s.t, err)
	var record deadletter.Record
	require.NoError(s.t, json.Unmarshal(data, &record))
	return record
}

// records returns the files of the open dead letters.
func (s *stack) records() []string {
	files, err := filepath.Glob(filepath.Join(s.deadLetters(), "*.json"))
	require.NoError(s.t, err)
	return files
}

// recordProgress describes how many dead letters are open and how many are closed.
func (s *stack) recordProgress() string {
	closed, err := filepath.Glob(filepath.Join(s.deadLetters(), "*", "*.json*"))
	require.NoError(s.t, err)
	return fmt.Sprintf("%d open and %d closed", len(s.records()), len(closed))
}

// metric returns the value of a sample of a process, or 0 if there is no such sample.
func (s *stack) metric(p *devstack.Process, sample string) float64 {
	value, err := p.Metric(s.ctx, sample)
	require.NoError(s.t, err)
	return value
}

// body returns the body of the answer to GET path.
func (s *stack) body(p *devstack.Process, path string) string {
	_, body, err := p.Read(s.ctx, path)
	require.NoError(s.t, err)
	return body
}

// exactlyOnce waits until a target has answered n events with 2xx. It asserts that no event was
// answered so twice.
func (s *stack) exactlyOnce(target string, n int) {
	s.t.Helper()
	s.atLeastOnce(target, n)
	for id, times := range delivered(s.targets[target]) {
		assert.Equal(s.t, 1, times, "%s at %s", id, target)
	}
}

// atLeastOnce waits until a target has answered n events with 2xx.
func (s *stack) atLeastOnce(target string, n int) {
	s.t.Helper()
	await.Equal(s.t, "events delivered at "+target, n, func() int { return len(delivered(s.targets[target])) })
}

// delivered returns the number of 2xx answers by event ID.
func delivered(target *devstack.Target) map[string]int {
	times := make(map[string]int)
	for _, r := range target.Requests() {
		if r.Status >= 200 && r.Status <= 299 {
			times[r.EventID]++
		}
	}
	return times
}

func ok(devstack.Request) devstack.Answer { return devstack.Answer{Status: http.StatusOK} }

// answers returns a script that answers every request with a status.
func answers(code int) devstack.Script {
	return func(devstack.Request) devstack.Answer {
		return devstack.Answer{Status: code, Body: "answer " + http.StatusText(code)}
	}
}
