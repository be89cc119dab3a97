package activities

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"pgregory.net/rapid"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

// TestLedger_SendsEachAttemptOnceAndCountsNoAttemptThatWasNotSent runs one delivery in two
// processes whose Temporal loses, delays and repeats calls, while processes are killed and an
// operator pauses, resets and cancels the activity. Deliver, Recall and FirstAttempt are the real
// ones. Temporal, the target and the loop of the workflow are small models. In any order of these
// steps:
//
//   - There are never more than max_attempts attempts or requests, and no two requests have the
//     same attempt number.
//   - After a success, the event is sent again only if the process that got the answer was killed
//     or did not answer a Recall in time, or if the process that sends did not answer one in time.
//   - A delivery is exhausted only after max_attempts attempts. Each of them was sent, or was begun
//     by a process that no longer answers.
//   - At its end, the ledger counts at least as many attempts as the target got requests.
//   - When nothing fails any more, the delivery ends.
//
// A reset that also deletes the heartbeat details is not a step, because it deletes the ledger.
func TestLedger_SendsEachAttemptOnceAndCountsNoAttemptThatWasNotSent(t *testing.T) {
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		require.NoError(t, checks.Value.Set("1000")) // 100 would find some faults in only one of three runs; 1,000 take 1 s
		t.Cleanup(func() { _ = checks.Value.Set(checks.DefValue) })
	}
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, rt, func() {
			m := newModel(t, rapid.IntRange(1, 3).Draw(rt, "max_attempts"))
			defer m.stop()
			m.latency = rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(rt, "latency of the target")
			m.start(rapid.Bool().Draw(rt, "the first workflow task is lost"))
			rt.Repeat(map[string]func(*rapid.T){"": m.check, "step": m.step})
			m.calmDown()
			m.check(rt)
			m.checkEnd()
		})
	})
}

// brokenRule is the panic of a test case that broke a rule.
type brokenRule string

func broken(format string, args ...any) { panic(brokenRule(fmt.Sprintf(format, args...))) }

// inBubble calls f in a bubble. The panics of rapid continue outside of the bubble. A broken rule
// fails on a line of its own, because rapid takes two panics of one line for the same failure.
func inBubble(t *testing.T, rt *rapid.T, f func()) {
	var failure any
	synctest.Test(t, func(*testing.T) {
		defer func() { failure = recover() }()
		f()
	})
	if rule, ok := failure.(brokenRule); ok {
		rt.Fatal(string(rule))
	}
	if failure != nil {
		panic(failure)
	}
}

const modelRecallTimeout = 20 * time.Second // as recallTimeout of package workflows

// model is one delivery, with all that takes part in it. The goroutine of the test makes one step
// after the other, each when all other goroutines wait.
type model struct {
	targets   *target.Set
	policy    target.Policy
	latency   time.Duration   // of the target, at least
	processes []*modelProcess // two that live, and those that were killed before them
	cancelRun context.CancelFunc

	mu          sync.Mutex
	heartbeats  []*modelHeartbeat // calls on their way to Temporal
	completions []func()          // the same; each writes the end of a task into Temporal
	deliver     *modelActivity    // nil if it is not scheduled
	recall      *modelRecall      // nil if it is not scheduled
	sends       []*modelSend      // all requests that the target got
	violation   string            // of the rules for requests

	firstBy  *modelProcess // has the lost first workflow task, and has not begun to run it
	lastBy   *modelProcess // had the last task of Deliver
	canceled bool          // true if an operator canceled the run
	lost     map[int]bool  // the attempts that count because their process no longer answers
	ended    bool
	reason   event.Reason // empty if the event was delivered
	progress fanout.Progress
}

// modelProcess is a process until it is killed.
type modelProcess struct {
	model  *model
	acts   *Activities
	ctx    context.Context // ends when the process is killed
	kill   context.CancelFunc
	silent bool // true if it did not answer a Recall in time
}

func (p *modelProcess) gone() bool { return p.ctx.Err() != nil || p.silent }

// modelActivity is the activity Deliver in Temporal.
type modelActivity struct {
	input    fanout.DeliverInput
	details  *fanout.Progress // of the last heartbeat
	due      time.Time        // when the next task may be handed out
	task     *modelTask       // the task that was handed out; nil while none is
	paused   bool
	canceled bool
	ended    chan modelResult
}

type modelResult struct {
	outcome fanout.Outcome
	err     error
}

// modelTask is one task of Deliver. It is stale as soon as Temporal waits for another one.
type modelTask struct {
	activity *modelActivity
	started  time.Time
	reset    bool // true if an operator has reset the activity since the task was handed out
}

func (t *modelTask) stale() bool { return t.activity.task != t }

// modelHeartbeat is a call of RecordActivityHeartbeat.
type modelHeartbeat struct {
	task     *modelTask
	progress fanout.Progress
	answer   chan error
}

// modelRecall is the activity Recall in Temporal.
type modelRecall struct {
	process   *modelProcess
	number    int64
	scheduled time.Time
	started   bool
	ended     chan modelRecalled
}

type modelRecalled struct {
	fanout.RecallResult
	err error
}

// modelSend is a request that the target got.
type modelSend struct {
	process   *modelProcess
	at        time.Time
	attempt   int
	answer    chan int // a status
	over      bool     // true if the process no longer waits for the answer
	succeeded bool     // true if the process got a 2xx
}

func newModel(t *testing.T, maxAttempts int) *model {
	m := &model{lost: make(map[int]bool), targets: load(t, "http://target.invalid", fmt.Sprintf(`
  - name: a
    url: $URL
    timeout: 2s
    retry_statuses: [429, 503]
    backoff: {initial: 1s}
    max_attempts: %d
`, maxAttempts))}
	m.policy = m.targets.All()[0].Policy
	m.startProcess()
	m.startProcess()
	return m
}

func (m *model) startProcess() {
	p := &modelProcess{model: m}
	p.ctx, p.kill = context.WithCancel(context.Background())
	p.acts = New(Options{Process: "process-" + strconv.Itoa(len(m.processes)+1), Targets: m.targets, Heartbeats: p})
	p.acts.network.byTarget["a"] = &connections{now: time.Now, newTransport: func() *http.Transport {
		transport := &http.Transport{}
		transport.RegisterProtocol("http", p)
		return transport
	}}
	m.processes = append(m.processes, p)
}

func (m *model) alive() []*modelProcess {
	return slices.DeleteFunc(slices.Clone(m.processes), func(p *modelProcess) bool { return p.ctx.Err() != nil })
}

// stop ends all goroutines.
func (m *model) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cancelRun()
	for _, p := range m.processes {
		p.kill()
	}
	m.letOthersRun(0)
	for !m.ended {
		if m.deliver != nil {
			m.endDeliver(modelResult{err: errModelStopped})
		}
		if m.recall != nil {
			m.endRecall(modelRecalled{err: errModelStopped})
		}
		m.letOthersRun(0)
	}
}

// letOthersRun releases the mutex until d has passed and all other goroutines wait.
func (m *model) letOthersRun(d time.Duration) {
	m.mu.Unlock()
	defer m.mu.Lock()
	time.Sleep(d)
	synctest.Wait()
}

var (
	errModelStopped = errors.New("the model stopped")
	errModelKilled  = errors.New("the process was killed")
	errModelStale   = errors.New("the task is unknown")
)

type modelTaskKey struct{}

// RecordActivityHeartbeat implements Heartbeats: it sends a call to Temporal and waits for the
// answer.
func (p *modelProcess) RecordActivityHeartbeat(ctx context.Context, _ []byte, details ...any) error {
	if p.ctx.Err() != nil {
		return errModelKilled
	}
	call := &modelHeartbeat{task: ctx.Value(modelTaskKey{}).(*modelTask), progress: details[0].(fanout.Progress), answer: make(chan error, 1)}
	m := p.model
	m.mu.Lock()
	m.heartbeats = append(m.heartbeats, call)
	m.mu.Unlock()
	select {
	case err := <-call.answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ctx.Done():
		return errModelKilled
	}
}

// RoundTrip implements http.RoundTripper: it sends a request to the target and waits for the
// answer.
func (p *modelProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.ctx.Err() != nil {
		return nil, errModelKilled
	}
	attempt, _ := strconv.Atoi(r.Header.Get("X-Delivery-Attempt"))
	send := &modelSend{process: p, at: time.Now(), attempt: attempt, answer: make(chan int, 1)}
	p.model.addSend(send)
	select {
	case status := <-send.answer:
		p.model.mu.Lock()
		send.succeeded = status <= 299
		p.model.mu.Unlock()
		return &http.Response{StatusCode: status, Header: make(http.Header), Body: http.NoBody, Request: r}, nil
	case <-r.Context().Done():
		p.model.mu.Lock()
		send.over = true
		p.model.mu.Unlock()
		return nil, r.Context().Err()
	}
}

func (m *model) addSend(send *modelSend) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, earlier := range m.sends {
		switch {
		case earlier.attempt == send.attempt:
			m.violation = fmt.Sprintf("attempt %d was sent twice", send.attempt)
		case earlier.succeeded && !earlier.process.gone() && !send.process.silent:
			m.violation = fmt.Sprintf("attempt %d was sent after attempt %d had succeeded, and both processes still answer", send.attempt, earlier.attempt)
		}
	}
	m.sends = append(m.sends, send)
}

// modelStep is something that may happen next.
type modelStep struct {
	name string
	do   func()
}

// step makes one of the possible steps.
func (m *model) step(rt *rapid.T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	steps := append(m.usualSteps(), m.faults()...)
	names := make([]string, len(steps))
	for i, step := range steps {
		names[i] = step.name
	}
	name := rapid.SampledFrom(names).Draw(rt, "it")
	steps[slices.Index(names, name)].do()
	m.letOthersRun(0)
}

// usualSteps returns the steps that happen when nothing fails. The last one is that time passes.
func (m *model) usualSteps() (steps []modelStep) {
	add := func(do func(), name string, args ...any) {
		steps = append(steps, modelStep{fmt.Sprintf(name, args...), do})
	}
	for i, call := range m.heartbeats {
		add(func() { m.removeHeartbeat(i); call.reply(m.record(call)) }, "heartbeat %d is acknowledged", i)
	}
	for i, complete := range m.completions {
		add(func() { m.removeCompletion(i); complete() }, "completion %d is written", i)
	}
	if m.recallDue() {
		add(func() { m.handOutRecall(true) }, "%s runs Recall", m.recall.process.acts.Process())
	}
	if a := m.deliver; a != nil && a.task == nil && !a.paused && !time.Now().Before(a.due) {
		alive := m.alive()
		slices.SortStableFunc(alive, func(p, _ *modelProcess) int { // the other process first
			if p == m.lastBy {
				return 1
			}
			return -1
		})
		for _, p := range alive {
			add(func() { m.handOut(p) }, "%s runs Deliver", p.acts.Process())
		}
	}
	for i, send := range m.sends {
		if send.waits() && time.Since(send.at) >= m.latency {
			for _, status := range []int{http.StatusOK, http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusBadRequest} {
				add(func() { send.answer <- status }, "target answers request %d with %d", i, status)
			}
		}
	}
	add(func() { m.pass(time.Second) }, "1 s passes")
	return steps
}

// faults returns all other possible steps.
func (m *model) faults() (steps []modelStep) {
	add := func(do func(), name string, args ...any) {
		steps = append(steps, modelStep{fmt.Sprintf(name, args...), do})
	}
	for _, d := range []time.Duration{3 * time.Second, 8 * time.Second, 25 * time.Second} {
		add(func() { m.pass(d) }, "%s pass", d)
	}
	for i, call := range m.heartbeats {
		add(func() { m.removeHeartbeat(i) }, "heartbeat %d is lost", i)
		add(func() { m.removeHeartbeat(i); _ = m.record(call) }, "heartbeat %d is written, but its answer is lost", i)
		add(func() { call.reply(m.record(call)) }, "heartbeat %d is acknowledged, and arrives once more later", i)
	}
	for i := range m.completions {
		add(func() { m.removeCompletion(i) }, "completion %d is lost", i)
	}
	if m.recallDue() {
		add(func() { m.handOutRecall(false) }, "the task of Recall is lost")
	}
	if p := m.firstBy; p != nil && p.ctx.Err() == nil {
		add(m.runFirstAttempt, "the lost first workflow task runs")
	}
	if len(m.processes) < 4 {
		for _, p := range m.alive() {
			add(func() { m.restart(p) }, "%s is killed, and another process starts", p.acts.Process())
		}
	}
	a := m.deliver
	if a == nil {
		return steps
	}
	if a.task != nil {
		add(m.timeOutDeliver, "the task of Deliver times out in Temporal")
	} else if !a.paused && !time.Now().Before(a.due) {
		add(func() { m.handOut(nil) }, "the task of Deliver is lost")
	}
	add(func() { a.paused = true }, "the operator pauses the activity")
	if a.paused {
		add(func() { m.unpause() }, "the operator unpauses the activity")
	}
	add(func() { m.reset() }, "the operator resets the activity")
	if !m.canceled {
		add(func() { m.canceled = true; m.cancelRun() }, "the operator cancels the run")
	}
	return steps
}

func (m *model) removeHeartbeat(i int) {
	m.heartbeats = slices.Delete(slices.Clone(m.heartbeats), i, i+1)
}

func (m *model) removeCompletion(i int) {
	m.completions = slices.Delete(slices.Clone(m.completions), i, i+1)
}

// Temporal and its clients.

// handOut hands the task of Deliver out to a process. If p is nil, the answer to the poll is lost.
func (m *model) handOut(p *modelProcess) {
	a := m.deliver
	a.task = &modelTask{activity: a, started: time.Now()}
	if p != nil {
		m.lastBy = p
		go p.runDeliver(a.task, a.details)
	}
}

// environment is a worker that executes activities with ctx.
func (p *modelProcess) environment(ctx context.Context) *testsuite.TestActivityEnvironment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{BackgroundActivityContext: ctx})
	return env
}

func (p *modelProcess) runDeliver(task *modelTask, details *fanout.Progress) {
	m := p.model
	ctx, cancel := context.WithTimeout(context.WithValue(p.ctx, modelTaskKey{}, task), m.startToClose())
	defer cancel()
	env := p.environment(ctx)
	env.RegisterActivity(p.acts.Deliver)
	if details != nil {
		env.SetHeartbeatDetails(*details)
	}
	var result modelResult
	value, err := env.ExecuteActivity(p.acts.Deliver, task.activity.input)
	result.err = err
	if err == nil {
		result.err = value.Get(&result.outcome)
	}
	p.complete(ctx, func() { m.completeDeliver(task, result) })
}

// complete sends the end of a task to Temporal, unless the process was killed or the task has
// timed out in it.
func (p *modelProcess) complete(ctx context.Context, completion func()) {
	if ctx.Err() != nil {
		return
	}
	m := p.model
	m.mu.Lock()
	defer m.mu.Unlock()
	m.completions = append(m.completions, completion)
}

func (m *model) startToClose() time.Duration {
	return time.Duration(m.policy.Timeout) + DeliverOverhead
}

// reply answers a call, unless it was answered before.
func (h *modelHeartbeat) reply(err error) {
	select {
	case h.answer <- err:
	default:
	}
}

// record writes a heartbeat and returns the answer that the SDK's client makes of it.
func (m *model) record(call *modelHeartbeat) error {
	if call.task.stale() {
		return errModelStale
	}
	a := call.task.activity
	a.details = &call.progress
	switch {
	case a.canceled:
		return temporal.NewCanceledError()
	case a.paused:
		return activity.ErrActivityPaused
	case call.task.reset:
		return activity.ErrActivityReset
	}
	return nil
}

func (m *model) completeDeliver(task *modelTask, result modelResult) {
	if task.stale() {
		return
	}
	failure, _ := errors.AsType[*temporal.ApplicationError](result.err)
	a := task.activity
	switch {
	case result.err == nil, temporal.IsCanceledError(result.err), failure != nil && failure.NonRetryable():
		m.endDeliver(result)
	case failure != nil && failure.NextRetryDelay() > 0:
		m.retryDeliver(a, failure, failure.NextRetryDelay())
	default:
		m.retryDeliver(a, result.err, time.Duration(m.policy.Backoff.Initial))
	}
}

// retryDeliver lets the next task be handed out after a delay, or ends the activity if it was
// canceled.
func (m *model) retryDeliver(a *modelActivity, cause error, delay time.Duration) {
	a.task, a.due = nil, time.Now().Add(delay)
	if a.canceled {
		converter := temporal.GetDefaultFailureConverter()
		m.endDeliver(modelResult{err: converter.FailureToError(&failurepb.Failure{
			Cause: converter.ErrorToFailure(cause),
			FailureInfo: &failurepb.Failure_ActivityFailureInfo{ActivityFailureInfo: &failurepb.ActivityFailureInfo{
				RetryState: enums.RETRY_STATE_CANCEL_REQUESTED,
			}},
		})})
	}
}

func (m *model) endDeliver(result modelResult) {
	a := m.deliver
	m.deliver, a.task = nil, nil
	a.ended <- result
}

// timeOutDeliver makes Temporal hand the task out again, while the process may still run it. If the
// answer to a poll was late, the task ends later in the process than in Temporal.
func (m *model) timeOutDeliver() {
	a := m.deliver
	var details []any
	if a.details != nil {
		details = []any{*a.details}
	}
	m.retryDeliver(a, temporal.NewTimeoutError(enums.TIMEOUT_TYPE_START_TO_CLOSE, nil, details...), time.Duration(m.policy.Backoff.Initial))
}

func (m *model) recallDue() bool {
	return m.recall != nil && !m.recall.started && m.recall.process.ctx.Err() == nil
}

// handOutRecall hands the task of Recall out to its process, or loses the answer to the poll.
func (m *model) handOutRecall(arrives bool) {
	m.recall.started = true
	if arrives {
		go m.recall.process.runRecall(m.recall)
	}
}

func (p *modelProcess) runRecall(recall *modelRecall) {
	m := p.model
	ctx, cancel := context.WithTimeout(p.ctx, modelRecallTimeout+time.Duration(m.policy.Timeout))
	defer cancel()
	env := p.environment(ctx)
	env.RegisterActivity(p.acts.Recall)
	var result modelRecalled
	value, err := env.ExecuteActivity(p.acts.Recall, fanout.RecallInput{Target: "a", RunID: "default-test-run-id", Number: recall.number})
	result.err = err
	if err == nil {
		result.err = value.Get(&result.RecallResult)
	}
	p.complete(ctx, func() {
		if m.recall == recall {
			m.endRecall(result)
		}
	})
}

func (m *model) endRecall(result modelRecalled) {
	recall := m.recall
	m.recall = nil
	recall.ended <- result
}

// runFirstAttempt executes the first workflow task, which Temporal has lost.
func (m *model) runFirstAttempt() {
	p := m.firstBy
	m.firstBy = nil
	go func() {
		env := p.environment(p.ctx)
		env.RegisterActivity(p.acts.FirstAttempt)
		_, _ = env.ExecuteActivity(p.acts.FirstAttempt, m.input(fanout.Progress{}, time.Time{})) // the answer is lost
	}()
}

// Everything else.

// waits reports whether a process waits for the answer to a request.
func (s *modelSend) waits() bool { return !s.over && len(s.answer) == 0 && s.process.ctx.Err() == nil }

// pass lets time pass, with the timers of Temporal.
func (m *model) pass(d time.Duration) {
	for ; d > 0; d -= time.Second {
		m.letOthersRun(time.Second)
		if a := m.deliver; a != nil && a.task != nil && time.Since(a.task.started) >= m.startToClose() {
			m.timeOutDeliver()
		}
		r := m.recall
		if r == nil {
			continue
		}
		if age := time.Since(r.scheduled); !r.started && age >= modelRecallTimeout || age >= modelRecallTimeout+time.Duration(m.policy.Timeout) {
			r.process.silent = true
			m.endRecall(modelRecalled{err: temporal.NewTimeoutError(enums.TIMEOUT_TYPE_SCHEDULE_TO_START, nil)})
			m.letOthersRun(0)
		}
	}
}

// restart kills a process and starts another one.
func (m *model) restart(p *modelProcess) {
	p.kill()
	m.letOthersRun(0)
	m.startProcess()
}

func (m *model) reset() {
	if task := m.deliver.task; task != nil {
		task.reset = true
	}
	m.deliver.due = time.Now()
}

func (m *model) unpause() {
	if m.deliver != nil && m.deliver.paused {
		m.deliver.paused, m.deliver.due = false, time.Now()
	}
}

// The loop of the workflow, as in workflows/delivery.go.

func (m *model) input(progress fanout.Progress, notBefore time.Time) fanout.DeliverInput {
	return fanout.DeliverInput{
		Message: event.Message{Event: event.Event{ID: "evt-1"}, Body: event.Body(message)},
		Policy:  m.policy, Progress: progress, NotBefore: notBefore,
	}
}

// start starts the run. If its first workflow task is lost, the first process had it.
func (m *model) start(firstTaskLost bool) {
	ctx, cancel := context.WithCancel(context.Background())
	m.cancelRun = cancel
	if firstTaskLost {
		m.firstBy = m.processes[0]
	}
	w := &modelWorkflow{model: m}
	go func() {
		w.run(ctx, firstTaskLost)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.ended, m.reason, m.progress = true, w.reason, w.progress
	}()
	synctest.Wait()
}

type modelWorkflow struct {
	model     *model
	progress  fanout.Progress
	notBefore time.Time
	reason    event.Reason
}

func (w *modelWorkflow) run(ctx context.Context, firstTaskLost bool) {
	if firstTaskLost {
		w.progress = w.progress.Begin(fanout.Request{Process: w.model.processes[0].acts.Process()})
		if w.applyLastOutcome() {
			return
		}
	}
	for {
		if ctx.Err() != nil {
			w.giveUp(fanout.Explain(temporal.NewCanceledError(), w.progress))
			return
		}
		result := w.deliver(ctx)
		if result.err == nil {
			w.progress = result.outcome.Progress
			return
		}
		w.progress = fanout.LastProgress(result.err, w.progress)
		if w.progress.Delivered() {
			return
		}
		if w.progress.InFlight != (fanout.Request{}) && w.applyLastOutcome() {
			return
		}
		if !fanout.IsUnknown(result.err) {
			w.giveUp(fanout.Reason(result.err, w.progress))
			return
		}
	}
}

func (w *modelWorkflow) giveUp(reason event.Reason, progress fanout.Progress) (ended bool) {
	w.reason, w.progress = reason, progress
	return true
}

func (w *modelWorkflow) applyLastOutcome() (ended bool) {
	result := w.recall(w.progress.InFlight)
	switch {
	case result.err != nil:
		w.progress = w.progress.Lost()
	case !result.Sent:
		w.progress = w.progress.Unsent()
	default:
		return w.applyOutcome(result.Outcome)
	}
	return w.progress.Attempts >= w.model.policy.MaxAttempts && w.giveUp(event.ReasonExhausted, w.progress)
}

func (w *modelWorkflow) applyOutcome(outcome fanout.Outcome) (ended bool) {
	w.progress, w.notBefore = outcome.Progress, outcome.NotBefore
	switch {
	case outcome.Verdict == fanout.Delivered:
		return true
	case outcome.Verdict == fanout.Rejected:
		return w.giveUp(event.ReasonRejected, w.progress)
	case w.progress.Attempts >= w.model.policy.MaxAttempts:
		return w.giveUp(event.ReasonExhausted, w.progress)
	}
	return false
}

func (w *modelWorkflow) deliver(ctx context.Context) modelResult {
	m := w.model
	a := &modelActivity{input: m.input(w.progress, w.notBefore), due: time.Now(), ended: make(chan modelResult, 1)}
	m.mu.Lock()
	m.deliver = a
	m.mu.Unlock()
	select {
	case result := <-a.ended:
		return result
	case <-ctx.Done():
	}
	m.mu.Lock()
	if a.details != nil && a.details.Attempts >= w.progress.Attempts {
		w.progress = *a.details
	}
	a.canceled = true
	if m.deliver == a && a.task == nil { // without details, as the server does it
		m.endDeliver(modelResult{err: temporal.NewCanceledError()})
	}
	m.mu.Unlock()
	return <-a.ended
}

func (w *modelWorkflow) recall(request fanout.Request) modelRecalled {
	m := w.model
	m.mu.Lock()
	i := slices.IndexFunc(m.processes, func(p *modelProcess) bool { return p.acts.Process() == request.Process })
	recall := &modelRecall{process: m.processes[i], number: request.Number, scheduled: time.Now(), ended: make(chan modelRecalled, 1)}
	m.recall = recall
	m.mu.Unlock()
	result := <-recall.ended
	m.mu.Lock()
	defer m.mu.Unlock()
	if result.err != nil && recall.process.gone() {
		m.lost[w.progress.Attempts] = true
	}
	return result
}

// The rules.

func (m *model) check(*rapid.T) {
	if m.violation != "" {
		broken("%s", m.violation)
	}
	if len(m.sends) > m.policy.MaxAttempts {
		broken("%d requests, but max_attempts is %d", len(m.sends), m.policy.MaxAttempts)
	}
}

// calmDown makes everything work until the delivery has ended and no call is on its way.
func (m *model) calmDown() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range 1000 {
		m.unpause()
		steps := m.usualSteps()
		if m.ended && len(steps) == 1 {
			return
		}
		steps[0].do()
		m.letOthersRun(0)
	}
	broken("the delivery does not end although nothing fails any more")
}

func (m *model) checkEnd() {
	attempts, sent, succeeded := m.progress.Attempts, make(map[int]bool), false
	for _, send := range m.sends {
		sent[send.attempt] = true
		succeeded = succeeded || send.succeeded
	}
	if attempts > m.policy.MaxAttempts || attempts < len(sent) {
		broken("the ledger counts %d attempts after %d requests, and max_attempts is %d", attempts, len(sent), m.policy.MaxAttempts)
	}
	switch m.reason {
	case "":
		if !succeeded {
			broken("the event counts as delivered, but no request succeeded")
		}
	case event.ReasonExhausted:
		for n := 1; n <= m.policy.MaxAttempts; n++ {
			if n > attempts || !sent[n] && !m.lost[n] {
				broken("exhausted after %d attempts, but attempt %d of %d was not made", attempts, n, m.policy.MaxAttempts)
			}
		}
	case event.ReasonCanceled:
		if !m.canceled {
			broken("canceled, but by nobody")
		}
	case event.ReasonRejected:
	default:
		broken("the delivery was given up because it is %s: %s", m.reason, m.progress.Error)
	}
}
