package e2e

import (
	"context"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
)

// The calls of Temporal whose loss or delay these tests cause.
const (
	heartbeat         = "RecordActivityTaskHeartbeat"
	activityCompleted = "RespondActivityTaskCompleted"
	activityPoll      = "PollActivityTaskQueue"
	workflowCompleted = "RespondWorkflowTaskCompleted"
)

// twoAttempts is a target to which two attempts are allowed, so that one that was counted wrongly
// ends as a dead letter. threeAttempts allows another request, so that one that was forgotten is sent
// again.
const (
	twoAttempts = `
  - {name: analytics, url: $ANALYTICS, timeout: 1s, max_concurrency: 1, max_attempts: 2, retry_statuses: [503], backoff: {initial: 1s}}
`
	threeAttempts = `
  - {name: analytics, url: $ANALYTICS, timeout: 1s, max_concurrency: 1, max_attempts: 3, retry_statuses: [503], backoff: {initial: 1s}}
`
)

// heldBack counts the tasks of that target's retry lane that sent nothing.
const heldBack = `fanout_deliveries_total{lane="retry",outcome="held",target="analytics"}`

// failFirst returns a script that answers the first request with 503, and the others with 200.
func failFirst() devstack.Script {
	return func(r devstack.Request) devstack.Answer {
		if r.Number == 1 {
			return devstack.Answer{Status: http.StatusServiceUnavailable}
		}
		return devstack.Answer{Status: http.StatusOK}
	}
}

// runBehind starts a binary behind a proxy of Temporal of its own, and waits until it is ready.
func (s *stack) runBehind(binary string, extra ...string) (*devstack.Process, *devstack.TemporalProxy) {
	s.t.Helper()
	proxy := s.startTemporalProxy()
	return s.run(binary, append(extra, "TEMPORAL_ADDRESS="+proxy.Address())...), proxy
}

// attempts returns the X-Delivery-Attempt of each request at the target analytics.
func (s *stack) attempts() (attempts []int) {
	for _, r := range s.targets["analytics"].Requests() {
		attempts = append(attempts, r.Attempt)
	}
	return attempts
}

// onlyOnce waits until a target has n events. It asserts that no event was sent twice.
func (s *stack) onlyOnce(target string, n int) {
	s.t.Helper()
	s.exactlyOnce(target, n)
	assert.Equal(s.t, n, s.targets[target].Count(), "requests at %s", target)
}

// waitScheduled waits until the run of an event has scheduled an activity.
func (s *stack) waitScheduled(eventID, activityID string) {
	s.t.Helper()
	s.eventually(func() bool { return slices.Contains(s.scheduled(eventID), activityID) }, "the activity %s is scheduled", activityID)
}

// scheduled returns the ids of the activities that the run of an event has scheduled.
func (s *stack) scheduled(eventID string) (ids []string) {
	events := s.client.GetWorkflowHistory(s.ctx, fanout.WorkflowID(eventID), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return nil // the run does not exist yet
		}
		if scheduled := e.GetActivityTaskScheduledEventAttributes(); scheduled != nil {
			ids = append(ids, scheduled.GetActivityId())
		}
	}
	return ids
}

// An attempt begins only if Temporal has acknowledged that. If Temporal does not, nothing is sent, and
// no attempt is counted.
func TestLedger_SlowHeartbeats(t *testing.T) {
	t.Parallel()
	for name, delay := range map[string]time.Duration{"1.5 s": 1500 * time.Millisecond, "5 s": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, targetScripts{"analytics": failFirst()}, twoAttempts)
			worker, proxy := s.runBehind("worker")
			proxy.DelayAnswers(heartbeat, delay)
			s.run("ingest")
			s.publish(0, 1)
			s.waitStatus(s.id(0), completed)
			assert.Equal(t, []int{1, 2}, s.attempts())
			assert.Zero(t, s.metric(worker, heldBack), "Temporal has acknowledged in time")
			assert.Empty(t, s.records())
		})
	}
	for name, test := range map[string]struct {
		begin func(*devstack.TemporalProxy)
		end   func(*devstack.TemporalProxy)
	}{
		"lost": {
			func(p *devstack.TemporalProxy) { p.Lose(heartbeat, -1) },
			func(p *devstack.TemporalProxy) { p.Lose(heartbeat, 0) },
		},
		"never acknowledged": {
			func(p *devstack.TemporalProxy) { p.DelayAnswers(heartbeat, time.Hour) },
			func(p *devstack.TemporalProxy) { p.DelayAnswers(heartbeat, 0) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, targetScripts{"analytics": failFirst()}, twoAttempts)
			worker, proxy := s.runBehind("worker")
			test.begin(proxy)
			s.run("ingest")
			s.publish(0, 1)
			s.eventually(func() bool {
				return s.metric(worker, heldBack) >= 3
			}, "more attempts are held back than are allowed")
			assert.Equal(t, []int{1}, s.attempts())
			test.end(proxy)
			s.waitStatus(s.id(0), completed)
			assert.Equal(t, []int{1, 2}, s.attempts())
			assert.Empty(t, s.records())
		})
	}
}

// Worker a has an answer of the target, and Temporal does not get its completion. Worker b gets the
// next task.
func TestLedger_LostCompletion(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		yaml     string
		losses   int // completions of a that are lost: Deliver's, and then Recall's
		killed   bool
		attempts []int // the attempts that the target gets
		recorded bool
	}{
		"the process lives":                          {yaml: threeAttempts, losses: 1, attempts: []int{1, 2}},
		"the process lives at the last attempt":      {yaml: twoAttempts, losses: 1, attempts: []int{1, 2}},
		"the process lives and its answer is lost":   {yaml: threeAttempts, losses: 2, attempts: []int{1, 2}},
		"the process was killed":                     {yaml: threeAttempts, losses: -1, killed: true, attempts: []int{1, 2, 3}},
		"the process was killed at the last attempt": {yaml: twoAttempts, losses: -1, killed: true, attempts: []int{1, 2}, recorded: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, targetScripts{"analytics": failFirst()}, test.yaml)
			a, proxy := s.runBehind("worker")
			proxy.Lose(activityCompleted, test.losses)
			s.run("ingest")
			s.publish(0, 1)
			await.Equal(t, "lost completions", 1, func() int { return proxy.Lost(activityCompleted) })
			// The lost completion keeps the only slot of a, so a does not poll. From now on it cannot.
			proxy.Reject(activityPoll, codes.Unavailable, "a test")
			if test.killed {
				a.Kill()
			}
			s.run("worker")
			s.waitScheduled(s.id(0), fanout.RecallActivityID("analytics"))
			proxy.Reject(activityPoll, codes.OK, "")
			if test.recorded {
				record := s.record("analytics", s.id(0))
				assert.Equal(t, event.ReasonExhausted, record.Reason)
				assert.Equal(t, 2, record.Attempts)
				assert.Zero(t, record.StatusCode)
				assert.Equal(t, "attempt 2 was begun by a process that no longer answers; the event may have been delivered", record.Error)
				s.waitStatus(s.id(0), failed)
			} else {
				s.waitStatus(s.id(0), completed)
				assert.Empty(t, s.records())
			}
			s.publish(1, 1)
			s.waitFor("analytics", hasEvents(2))
			assert.Equal(t, append(test.attempts, 1), s.attempts())
			if !test.killed {
				assert.Equal(t, test.losses, proxy.Lost(activityCompleted))
			} else if requests := s.targets["analytics"].Requests(); !test.recorded {
				t.Logf("the event was sent again %s after the request whose outcome was lost", requests[2].Time.Sub(requests[1].Time))
			}
		})
	}
}

// Temporal does not get the completion of the first workflow task of some runs. The processes that
// made first attempts in these tasks live, so that nothing is sent again.
func TestLedger_LostWorkflowTask(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		eager, denied bool
		workers       int
		lossesBy      []string // which processes lose completions
	}{
		"one worker":   {workers: 1, lossesBy: []string{"worker"}},
		"two workers":  {workers: 2, lossesBy: []string{"worker"}},
		"eager ingest": {eager: true, workers: 1, lossesBy: []string{"ingest"}},
		"eager denied": {eager: true, denied: true, workers: 1, lossesBy: []string{"worker", "ingest"}},
	} {
		for _, policy := range []string{"", "max_attempts: 1"} {
			t.Run(strings.TrimSpace(name+" "+policy), func(t *testing.T) {
				t.Parallel()
				temporal := shared.temporal
				if test.denied {
					var err error
					temporal, err = devstack.StartTemporal(t.Context(), devstack.TemporalOptions{DynamicConfig: []string{"system.enableEagerWorkflowStart=false"}})
					require.NoError(t, err)
					t.Cleanup(temporal.Close)
				}
				const lost = 4
				s := newStackOn(t, temporal, shared.kafka, targetScripts{"analytics": ok, "notification": ok, "compliance": ok}, strings.ReplaceAll(threeTargets, "}", ", "+policy+"}"))
				behind := func(binary string, extra ...string) {
					_, proxy := s.runBehind(binary, extra...)
					if slices.Contains(test.lossesBy, binary) {
						proxy.Lose(workflowCompleted, lost/2)
					}
				}
				for range test.workers {
					behind("worker")
				}
				eager := "FANOUT_EAGER_START=false"
				if test.eager {
					eager = "FANOUT_EAGER_START=true"
				}
				behind("ingest", eager)
				s.publish(0, lost)
				for i := range lost {
					s.waitStatus(s.id(i), completed)
				}
				asked := 0
				for i := range lost {
					if slices.Contains(s.scheduled(s.id(i)), fanout.RecallActivityID("analytics")) {
						asked++
					}
				}
				assert.GreaterOrEqual(t, asked, lost/2, "runs that lost their first task")
				s.publish(lost, 1)
				for target := range s.targets {
					s.onlyOnce(target, lost+1)
				}
			})
		}
	}
}

// The process that made the first attempt is killed before the target has answered. The attempt
// counts, and the next one may send the event again.
func TestLedger_KilledDuringFirstAttempt(t *testing.T) {
	t.Parallel()
	const oneAttempt = `
  - {name: analytics, url: $ANALYTICS, max_attempts: 1}
`
	for name, test := range map[string]struct {
		yaml     string
		attempts []int
	}{
		"more attempts are allowed": {threeAttempts, []int{1, 2}},
		"it was the only attempt":   {oneAttempt, []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, targetScripts{"analytics": func(r devstack.Request) devstack.Answer {
				return devstack.Answer{Hang: r.Number == 1}
			}}, test.yaml)
			s.run("worker")
			ingest := s.run("ingest")
			s.publish(0, 1)
			s.waitFor("analytics", hasEvents(1))
			ingest.Kill()
			if len(test.attempts) == 1 {
				record := s.record("analytics", s.id(0))
				assert.Equal(t, event.ReasonExhausted, record.Reason)
				assert.Equal(t, "attempt 1 was begun by a process that no longer answers; the event may have been delivered", record.Error)
				s.waitStatus(s.id(0), failed)
			} else {
				s.waitStatus(s.id(0), completed)
				requests := s.targets["analytics"].Requests()
				t.Logf("the event was sent again %s after the request whose outcome was lost", requests[1].Time.Sub(requests[0].Time))
			}
			assert.Equal(t, test.attempts, s.attempts())
		})
	}
}

// Both start each event, and Temporal accepts one of the starts.
func TestLedger_TwoIngestsStartOneEvent(t *testing.T) {
	t.Parallel()
	const events = 100
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok, "compliance": ok}, threeTargets)
	s.run("worker")
	var ingests []*devstack.Process
	for _, group := range []string{"-one", "-two"} {
		ingests = append(ingests, s.run("ingest", "KAFKA_GROUP_ID="+s.name+group))
	}
	s.publish(0, events)
	for result, sum := range map[string]float64{"started": events, "duplicate": events} {
		await.Equal(t, "starts "+result, sum, func() float64 {
			return s.starts(ingests[0], result) + s.starts(ingests[1], result)
		})
	}
	s.publish(events, 1)
	for target := range s.targets {
		s.onlyOnce(target, events+1)
	}
}

// Temporal is killed three times while events are delivered and the partitions are rebalanced. All the
// time settled runs are reset and dead letters are replayed. The processes that send requests live.
func TestLedger_TemporalKilledThreeTimes(t *testing.T) {
	t.Parallel()
	for name, eager := range map[string]string{"two workers": "FANOUT_EAGER_START=false", "eager ingests": "FANOUT_EAGER_START=true"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const events = 200
			temporal := ownTemporal(t)
			s := newStackOn(t, temporal, shared.kafka, targetScripts{
				"analytics":  func(devstack.Request) devstack.Answer { return devstack.Answer{Delay: 200 * time.Millisecond} },
				"compliance": rejectFirstRequest(),
			}, analyticsAndCompliance)
			worker := s.run("worker")
			s.run("worker")
			ingests := []*devstack.Process{s.run("ingest", eager), s.run("ingest", eager)}
			operator := s.startOperator(events)
			publish := func(from, to int) {
				for i := from; i < to; i++ {
					require.NoError(t, s.kafka.Produce(s.ctx, s.name, int32(i%4), nil, flatEvent(s.id(i), kindOf(i))))
				}
			}
			// kill kills Temporal until a worker has noticed it.
			kill := func() {
				temporal.Kill()
				require.NoError(t, worker.WaitStatus(s.ctx, "/readyz", http.StatusServiceUnavailable))
				require.NoError(t, temporal.Start(s.ctx))
			}

			publish(0, 100)
			s.waitFor("analytics", hasEvents(40))
			operator.waitReset(5)
			temporal.Kill()
			_, err := worker.WaitLine(s.ctx, "for=3") // longer than any workflow task or question may take
			require.NoError(t, err)
			require.NoError(t, temporal.Start(s.ctx))
			operator.waitSettled(100) // so that nobody asks the ingest that is stopped

			publish(100, 150)
			stop(t, ingests[0])
			s.waitFor("analytics", hasEvents(110))
			kill()

			require.NoError(t, ingests[1].WaitReady(s.ctx))
			publish(150, events)
			s.waitFor("analytics", hasEvents(160))
			kill()

			operator.waitSettled(events)
			operator.stop()
			operator.waitSettled(events) // and the runs of the last resets
			require.NoError(t, worker.WaitReady(s.ctx))
			s.onlyOnce("analytics", events)
			s.exactlyOnce("compliance", events)
			assert.Equal(t, events+events/8, s.targets["compliance"].Count(), "each event that was rejected, once more")
			assert.Empty(t, s.records())
			s.waitCommitted(events)
			assert.Greater(t, operator.resets(), events/4, "resets of settled runs")
		})
	}
}

// The types of events whose first request is rejected. An operator resets the runs of the former and
// replays the dead letters of the latter, because a reset would terminate the run of a replay.
const (
	resetKind  = "rejected.reset"
	replayKind = "rejected.replayed"
)

// kindOf returns the type of an event by its number. One in sixteen is of each of the two types.
func kindOf(i int) string {
	switch i % 16 {
	case 0:
		return resetKind
	case 8:
		return replayKind
	}
	return "conversation.started"
}

// rejectFirstRequest returns a script that rejects the first request for each event of the two types.
func rejectFirstRequest() devstack.Script {
	var rejected sync.Map
	return func(r devstack.Request) devstack.Answer {
		if strings.HasPrefix(r.Header.Get("X-Genesys-Event-Type"), "rejected.") {
			if _, again := rejected.LoadOrStore(r.EventID, true); !again {
				return devstack.Answer{Status: http.StatusUnprocessableEntity}
			}
		}
		return devstack.Answer{}
	}
}

// operator resets settled runs and replays dead letters, again and again.
type operator struct {
	s      *stack
	cancel context.CancelFunc
	done   sync.WaitGroup
	count  atomic.Int64 // of the resets that Temporal accepted
}

// startOperator starts an operator of the first n events. Temporal may reject its commands, because
// it is killed.
func (s *stack) startOperator(n int) *operator {
	ctx, cancel := context.WithCancel(s.ctx)
	o := &operator{s: s, cancel: cancel}
	s.t.Cleanup(o.stop)
	o.done.Go(func() {
		pace := time.NewTicker(50 * time.Millisecond) // slower than the load
		defer pace.Stop()
		for i := 0; ; i = (i + 7) % n { // 7 has no divisor in common with n, so every event has its turn
			select {
			case <-pace.C:
				o.resetSettled(ctx, i)
			case <-ctx.Done():
				return
			}
		}
	})
	o.done.Go(func() {
		for ctx.Err() == nil {
			command := exec.CommandContext(ctx, filepath.Join(shared.bin, "deadletter"), "replay", "--type", replayKind, "--yes")
			command.Env, command.Dir = s.env("HOME="+s.dir), s.dir
			_ = command.Run() // it fails while Temporal is killed
		}
	})
	return o
}

// resetSettled resets the run of an event if the run has completed, or if it has failed and no replay
// is to deliver the event.
func (o *operator) resetSettled(ctx context.Context, i int) {
	id := o.s.id(i)
	status := o.s.status(id)
	if status != completed && (status != failed || kindOf(i) == replayKind) {
		return
	}
	_, err := o.s.client.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: devstack.Namespace, WorkflowExecution: &common.WorkflowExecution{WorkflowId: fanout.WorkflowID(id)},
		Reason: "a test", WorkflowTaskFinishEventId: 4, RequestId: uuid.NewString(), // the end of the first workflow task
	})
	if err == nil {
		o.count.Add(1)
	}
}

func (o *operator) resets() int { return int(o.count.Load()) }

func (o *operator) waitReset(n int) {
	o.s.t.Helper()
	await.True(o.s.t, "resets", func() bool { return o.resets() >= n })
}

// waitSettled waits until the runs of the first n events have completed.
func (o *operator) waitSettled(n int) {
	o.s.t.Helper()
	for i := range n {
		o.s.waitStatus(o.s.id(i), completed)
	}
}

// stop ends the commands.
func (o *operator) stop() {
	o.cancel()
	o.done.Wait()
}

// Temporal is killed while a process is asked, and for longer than a process may be silent.
func TestLedger_TemporalKilledWhileAProcessIsAsked(t *testing.T) {
	t.Parallel()
	temporal := ownTemporal(t)
	s := newStackOn(t, temporal, shared.kafka, targetScripts{"analytics": ok}, oneTarget)
	proxy := s.startTemporalProxy()
	proxy.Reject(activityPoll, codes.Unavailable, "a test") // so that the worker is asked and does not know it yet
	proxy.Lose(workflowCompleted, 1)
	worker := s.start("worker", "TEMPORAL_ADDRESS="+proxy.Address())
	s.run("ingest", "FANOUT_EAGER_START=false")
	s.publish(0, 1)
	s.waitScheduled(s.id(0), fanout.RecallActivityID("analytics"))
	temporal.Kill()
	proxy.Reject(activityPoll, codes.OK, "")
	_, err := worker.WaitLine(s.ctx, "for=3")
	require.NoError(t, err)
	require.NoError(t, temporal.Start(s.ctx))
	s.waitStatus(s.id(0), completed)
	s.publish(1, 1)
	s.onlyOnce("analytics", 2)
}

// Temporal answers nothing for most of the time in which a process is asked. Its timers are due when
// it returns, before the process has polled again.
func TestLedger_TemporalSilentWhileAProcessIsAsked(t *testing.T) {
	t.Parallel()
	temporal := ownTemporal(t)
	s := newStackOn(t, temporal, shared.kafka, targetScripts{"analytics": ok}, oneTarget)
	proxy := s.startTemporalProxy()
	proxy.Reject(activityPoll, codes.Unavailable, "a test") // the worker does not poll the question
	proxy.Lose(workflowCompleted, 1)
	s.start("worker", "TEMPORAL_ADDRESS="+proxy.Address())
	s.run("ingest", "FANOUT_EAGER_START=false")
	s.publish(0, 1)
	recall := fanout.RecallActivityID("analytics")
	s.waitScheduled(s.id(0), recall)
	require.NoError(t, temporal.Pause())
	<-time.After(15 * time.Second) // the length of the outage; the process is asked for 20 s
	require.NoError(t, temporal.Resume())
	s.eventually(func() bool {
		return len(slices.DeleteFunc(s.scheduled(s.id(0)), func(id string) bool { return id != recall })) == 2
	}, "the process is asked again")
	proxy.Reject(activityPoll, codes.OK, "")
	s.waitStatus(s.id(0), completed)
	s.publish(1, 1)
	s.onlyOnce("analytics", 2)
}
