// Package queues makes the Temporal workers that serve FanOut's task queues: one
// for workflow tasks with their first attempts, one that answers for those, one
// for each target's retry lane, one for dead letters. How many tasks each may hold, and why, stands here.
//
// The package refuses to start or stop anything: the process that asked for a
// worker does.
package queues

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"genesys-fanout/activities"
	"genesys-fanout/fanout"
	"genesys-fanout/target"
	"genesys-fanout/workflows"
)

const (
	// stickyRuns is how many open runs keep their state in memory, and
	// stickyDeliveries how many deliveries those may have in all: one that waits in
	// the retry lane takes some 25 KB, so 100 MB. In an outage many more runs are
	// open; they are replayed when they go on.
	stickyRuns       = 500
	stickyDeliveries = 4_000

	// movingRuns is how many workflow tasks may be under way beside those that
	// wait for a target that hangs. A start takes one while Temporal answers, so
	// it is FANOUT_MAX_STARTS' default; a start that finds none leaves the run's
	// first task to whoever polls.
	movingRuns = 256

	// Pollers of workflow tasks. A poll answers in about 2 ms on loopback and 20
	// ms in a network: 16 hand out 800 tasks a second there. At rest each costs a
	// request a minute.
	fewestPollers, mostPollers = 2, 16

	// Pollers of one target's retry lane, which its slots bound too: in quiet
	// times 1 for each partition that a queue has by default, 4.
	fewestTargetPollers, mostTargetPollers = 1, 8

	// deadLetterSlots: writes to one disk gain nothing from more.
	deadLetterSlots = 16

	// StopSlack is what an attempt in flight may need beyond its timeout to tell
	// Temporal how it ended. A WorkerStopTimeout of 0 would run first attempts
	// twice.
	StopSlack = 2 * time.Second
)

// UnfinishedTasks says what it means that a process ended before its workers had.
const UnfinishedTasks = "Temporal did not answer in time; it hands the tasks that are unfinished to other workers after their time-outs"

// Config is what the workers of one process share.
type Config struct {
	Client     client.Client
	TaskQueue  string // FANOUT_TASK_QUEUE; the others follow from it
	Targets    *target.Set
	Activities *activities.Activities
	Log        *slog.Logger
}

// WorkflowWorker makes the worker of workflow tasks and of the first attempts within
// them. It registers the metric fanout_event_age_seconds. The size of its sticky
// cache is the process's: make one per process.
func (p Config) WorkflowWorker(metrics prometheus.Registerer) *Worker {
	worker.SetStickyWorkflowCacheSize(cachedRuns(len(p.Targets.All())))
	// Each target may keep as many tasks open as the fast lane takes of it at once.
	tasks := movingRuns + activities.FastLaneLimit*len(p.Targets.All())
	options := worker.Options{
		LocalActivityWorkerOnly:                true,
		MaxConcurrentWorkflowTaskExecutionSize: tasks,
		// A task makes all its first attempts side by side.
		MaxConcurrentLocalActivityExecutionSize: tasks * len(p.Targets.All()),
		WorkflowTaskPollerBehavior:              scaled(fewestPollers, mostPollers),
	}
	age := newEventAge(metrics)
	// A publisher's clock may be ahead of this one.
	fanOut := &workflows.Workflows{Delivered: func(d time.Duration) { age.Observe(max(0, d.Seconds())) }}
	return p.worker(p.TaskQueue, options, func(one worker.Worker) {
		one.RegisterWorkflowWithOptions(fanOut.FanOut, workflow.RegisterOptions{Name: fanout.WorkflowName})
		one.RegisterActivity(p.Activities.FirstAttempt)
		one.RegisterActivity(p.Activities.LastProgress)
	})
}

// cachedRuns is how many open runs of so many targets keep their state in memory.
func cachedRuns(targets int) int { return min(stickyRuns, stickyDeliveries/max(1, targets)) }

// RecallWorker makes the worker that answers for the first attempts of this process,
// on a queue of its own. It is asked only when a workflow task was lost.
func (p Config) RecallWorker(queue string) *Worker {
	options := worker.Options{DisableWorkflowWorker: true, ActivityTaskPollerBehavior: scaled(1, mostTargetPollers)}
	return p.worker(queue, options, func(one worker.Worker) {
		one.RegisterActivity(p.Activities.Recall)
	})
}

// RetryLaneWorker makes the worker of one target's queue.
func (p Config) RetryLaneWorker(t *target.Target) *Worker {
	options := worker.Options{
		DisableWorkflowWorker:        true,
		Tuner:                        p.Activities.Tuner(t),
		TaskQueueActivitiesPerSecond: t.RateLimit,
		ActivityTaskPollerBehavior:   scaled(fewestTargetPollers, mostTargetPollers),
		// Deliver's heartbeats are no sign of life but its record of requests
		// sent: each must be out before the next request is.
		DefaultHeartbeatThrottleInterval: time.Nanosecond,
		MaxHeartbeatThrottleInterval:     time.Nanosecond,
	}
	return p.worker(fanout.TargetQueue(p.TaskQueue, t.Name()), options, func(one worker.Worker) {
		one.RegisterActivity(p.Activities.Deliver)
	})
}

// DeadLetterWorker makes the worker of the queue on which dead letters are recorded,
// looked up and resolved.
func (p Config) DeadLetterWorker() *Worker {
	options := worker.Options{DisableWorkflowWorker: true, MaxConcurrentActivityExecutionSize: deadLetterSlots}
	return p.worker(fanout.DeadLetterQueue(p.TaskQueue), options, func(one worker.Worker) {
		one.RegisterActivity(p.Activities.RecordDeadLetter)
		one.RegisterActivity(p.Activities.ResolveDeadLetter)
		one.RegisterActivity(p.Activities.Outstanding)
	})
}

func (p Config) worker(queue string, options worker.Options, register func(worker.Worker)) *Worker {
	options.WorkerStopTimeout = p.Targets.LongestTimeout() + StopSlack
	return newWorker(queue, p.Log, func(fatal func(error)) worker.Worker {
		options.OnFatalError = fatal
		one := worker.New(p.Client, queue, options)
		register(one)
		return one
	})
}

// scaled lets the server's hints decide how many polls are out.
func scaled(fewest, most int) worker.PollerBehavior {
	return worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{
		MinimumNumberOfPollers: fewest,
		InitialNumberOfPollers: fewest,
		MaximumNumberOfPollers: most,
	})
}

func newEventAge(registry prometheus.Registerer) prometheus.Observer {
	age := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "fanout_event_age_seconds",
		Help:    "Time from an event's publication to its last delivery, of events that reached every target.",
		Buckets: prometheus.ExponentialBuckets(0.01, 2, 20), // 10 ms to 87 min
	})
	registry.MustRegister(age)
	return age
}
