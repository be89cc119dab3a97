package queues

import (
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/worker"
)

// restartDelay is the pause before a worker is replaced that has ended by itself.
const restartDelay = 10 * time.Second

// Worker polls one task queue. The SDK's worker ends for good if Temporal answers for two minutes
// that it does not know the namespace. Worker then replaces it by a new one, and tries again
// until one has started.
type Worker struct {
	queue string
	log   *slog.Logger
	build func(onFatalError func(error)) worker.Worker

	mu      sync.Mutex
	current worker.Worker
	stop    chan struct{}
}

func newWorker(queue string, log *slog.Logger, build func(onFatalError func(error)) worker.Worker) *Worker {
	return &Worker{queue: queue, log: log, build: build, stop: make(chan struct{})}
}

// Start begins to poll. It fails if Temporal rejects the worker.
func (w *Worker) Start() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.current = w.build(w.restart)
	return w.current.Start()
}

// Stop ends the polls. It waits until the tasks in flight have ended, at most for the worker's
// WorkerStopTimeout.
func (w *Worker) Stop() {
	close(w.stop)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.current.Stop()
}

// restart replaces the SDK's worker, and tries again until a new one has started. The SDK calls
// it on a goroutine of its own after its worker has ended.
func (w *Worker) restart(err error) {
	w.log.Error("Temporal rejects the polls of this task queue; no task is done until a new worker has started",
		"task_queue", w.queue, "error", err, "retry_in", restartDelay)
	for {
		select {
		case <-w.stop:
			return
		case <-time.After(restartDelay):
		}
		if w.replaceWorker() == nil {
			return
		}
	}
}

// replaceWorker stops the SDK's worker and starts a new one. If Stop was called, it starts none.
func (w *Worker) replaceWorker() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.current.Stop()
	select {
	case <-w.stop:
		return nil
	default:
	}
	w.current = w.build(w.restart)
	return w.current.Start()
}
