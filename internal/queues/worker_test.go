package queues

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"
)

// sdkWorker stands in for a worker of the SDK. It counts its stops and polls nothing.
type sdkWorker struct {
	worker.Worker
	onFatalError func(error)
	startError   error
	stopped      atomic.Int32
}

func (w *sdkWorker) Start() error { return w.startError }
func (w *sdkWorker) Stop()        { w.stopped.Add(1) }

func TestWorker_RestartsUntilItStartsAfterItHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := make(chan *sdkWorker, 10)
		startErrors := []error{nil, errors.New("the namespace is not back yet"), nil}
		w := newWorker("queue", slog.New(slog.DiscardHandler), func(onFatalError func(error)) worker.Worker {
			one := &sdkWorker{onFatalError: onFatalError, startError: startErrors[0]}
			startErrors = startErrors[1:]
			made <- one
			return one
		})
		require.NoError(t, w.Start())
		first := <-made
		began := time.Now()
		go first.onFatalError(errors.New("namespace not found"))
		<-made
		assert.Equal(t, restartDelay, time.Since(began))
		assert.EqualValues(t, 1, first.stopped.Load(), "the tasks in flight of the first worker end before the next worker starts")
		third := <-made
		assert.Equal(t, 2*restartDelay, time.Since(began), "the start is repeated until it succeeds")

		go third.onFatalError(errors.New("namespace not found"))
		synctest.Wait()
		w.Stop()
		time.Sleep(2 * restartDelay) // by the bubble's clock
		assert.Empty(t, made, "a worker that was stopped is not restarted")
		assert.EqualValues(t, 1, third.stopped.Load())
	})
}
