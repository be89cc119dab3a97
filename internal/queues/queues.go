// Package queues makes the Temporal workers of FanOut's task queues. It decides how many tasks and
// polls each of them has.
//
//   - queues.go: the workers. WorkflowWorker executes workflow tasks and their first attempts,
//     RetryLaneWorker the attempts of one target's retry lane, DeadLetterWorker the activities of
//     the tracker. ProcessWorker returns the outcomes of the requests that this process began.
//   - worker.go: Worker, which replaces the SDK's worker if that ends by itself
//
// The package refuses to start or stop a worker: the process that has the worker does. But if a
// started worker ends by itself, the package restarts it.
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
	// cachedRuns is how many open runs the sticky cache has at most, and cachedDeliveries is how
	// many deliveries these runs may have together. A delivery that waits in the retry lane takes
	// about 25 KB, so that is 100 MB. In an outage, many more runs are open. Temporal
	// re-executes the code of the others when they continue.
	cachedRuns       = 500
	cachedDeliveries = 4_000

	// workflowTasks is how many workflow tasks may be executed at a time, in addition to
	// those that wait for a target that hangs. A start reserves one until Temporal answers,
	// so this is the default of FANOUT_MAX_STARTS. If a start finds none free, any process
	// that polls may get the run's first task.
	workflowTasks = 256

	// The pollers of workflow tasks. A poll takes about 2 ms on loopback and 20 ms in a
	// network, where 16 pollers get 800 tasks per second. An idle poller costs one request
	// per minute.
	minPollers, maxPollers = 2, 16

	// The pollers of one target's retry lane. The target's slots limit them too, because each
	// poll needs one. An idle queue keeps the smaller number.
	minTargetPollers, maxTargetPollers = 1, 8

	// deadLetterSlots is how many dead letters are written at a time. More would not make the
	// writes to one disk faster.
	deadLetterSlots = 16

	// StopSlack is the time that an attempt in flight may need, in addition to its timeout, to
	// report its outcome to Temporal. If a worker did not wait for that when it stops, first
	// attempts would be made twice.
	StopSlack = 2 * time.Second
)

// UnfinishedTasks says what it means if a process ended before its workers had stopped. It is a
// part of a log message.
const UnfinishedTasks = "Temporal did not answer in time; it hands the tasks that are unfinished to other workers after their time-outs"

// Config is the configuration that the workers of one process share.
type Config struct {
	Client     client.Client
	TaskQueue  string // FANOUT_TASK_QUEUE; the names of all queues begin with it
	Targets    *target.Set
	Activities *activities.Activities
	Log        *slog.Logger
}

// WorkflowWorker makes the worker of workflow tasks and of the first attempts within them. It
// registers the metric fanout_event_age_seconds, and it sets the size of the sticky cache, of
// which a process has only one. So call it once per process.
func (c Config) WorkflowWorker(metrics prometheus.Registerer) *Worker {
	worker.SetStickyWorkflowCacheSize(cacheSize(len(c.Targets.All())))
	// Each first attempt that waits for a target keeps one workflow task open.
	tasks := workflowTasks + activities.FastLaneLimit*len(c.Targets.All())
	options := worker.Options{
		LocalActivityWorkerOnly:                true,
		MaxConcurrentWorkflowTaskExecutionSize: tasks,
		// A task makes its first attempts to all targets at the same time.
		MaxConcurrentLocalActivityExecutionSize: tasks * len(c.Targets.All()),
		WorkflowTaskPollerBehavior:              autoscaled(minPollers, maxPollers),
	}
	age := newEventAge(metrics)
	// The age may be negative, because the publisher's clock may be ahead of this one.
	fanOut := &workflows.Workflows{Delivered: func(d time.Duration) { age.Observe(max(0, d.Seconds())) }}
	return c.worker(c.TaskQueue, options, func(w worker.Worker) {
		w.RegisterWorkflowWithOptions(fanOut.FanOut, workflow.RegisterOptions{Name: fanout.WorkflowName})
		w.RegisterActivity(c.Activities.FirstAttempt)
		w.RegisterActivity(c.Activities.LastProgress)
		w.RegisterActivity(c.Activities.FirstTask)
	})
}

// cacheSize returns the size of the sticky cache, in runs, for this number of targets.
func cacheSize(targets int) int { return min(cachedRuns, cachedDeliveries/max(1, targets)) }

// ProcessWorker makes the worker that returns the outcomes of the requests that this process began.
// Each process has its own queue for it. The queue gets tasks only if Temporal has lost the outcome
// of a request.
func (c Config) ProcessWorker() *Worker {
	queue := fanout.ProcessQueue(c.TaskQueue, c.Activities.Process())
	options := worker.Options{DisableWorkflowWorker: true, ActivityTaskPollerBehavior: autoscaled(minTargetPollers, maxTargetPollers)}
	return c.worker(queue, options, func(w worker.Worker) {
		w.RegisterActivity(c.Activities.Recall)
	})
}

// RetryLaneWorker makes the worker of one target's retry lane.
func (c Config) RetryLaneWorker(t *target.Target) *Worker {
	options := worker.Options{
		DisableWorkflowWorker:        true,
		Tuner:                        c.Activities.Tuner(t),
		TaskQueueActivitiesPerSecond: t.RateLimit,
		ActivityTaskPollerBehavior:   autoscaled(minTargetPollers, maxTargetPollers),
	}
	return c.worker(fanout.TargetQueue(c.TaskQueue, t.Name()), options, func(w worker.Worker) {
		w.RegisterActivity(c.Activities.Deliver)
	})
}

// DeadLetterWorker makes the worker of the queue on which dead letters are recorded, looked up and
// resolved.
func (c Config) DeadLetterWorker() *Worker {
	options := worker.Options{DisableWorkflowWorker: true, MaxConcurrentActivityExecutionSize: deadLetterSlots}
	return c.worker(fanout.DeadLetterQueue(c.TaskQueue), options, func(w worker.Worker) {
		w.RegisterActivity(c.Activities.RecordDeadLetter)
		w.RegisterActivity(c.Activities.ResolveDeadLetter)
		w.RegisterActivity(c.Activities.Outstanding)
	})
}

func (c Config) worker(queue string, options worker.Options, register func(worker.Worker)) *Worker {
	options.WorkerStopTimeout = c.Targets.LongestTimeout() + StopSlack
	return newWorker(queue, c.Log, func(onFatalError func(error)) worker.Worker {
		options.OnFatalError = onFatalError
		w := worker.New(c.Client, queue, options)
		register(w)
		return w
	})
}

// autoscaled returns a poller behavior that follows the server's hints between two bounds.
func autoscaled(least, most int) worker.PollerBehavior {
	return worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{
		MinimumNumberOfPollers: least,
		InitialNumberOfPollers: least,
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
