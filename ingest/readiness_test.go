package ingest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"genesys-fanout/internal/devstack"
)

// Brokers with connections.max.reauth.ms ask for that.
func TestIngest_StaysReadyWhileSASLReauthenticates(t *testing.T) {
	t.Parallel()
	broker, err := devstack.StartKafka(t.Context(), devstack.KafkaOptions{
		Dir: t.TempDir(), Topics: map[string]int32{topic: 1}, Backend: devstack.BackendKfake, Reauthenticate: 2 * time.Second,
	})
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	reauthentications, err := broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SASLAuthenticate}, Observe: true, Count: -1})
	require.NoError(t, err)
	server, health := newTemporal(), &countingHealth{}
	m := run(t, broker, server, all(extra(map[string]string{"statistics.interval.ms": "10"}), func(o *Options) {
		health.Health = o.Health
		o.Health = health
	}))
	produce(t, broker, 0, 0, 5)
	wait(t, func() bool { return committed(t, broker, 0) == 5 && m.ready() }, "ready")
	was, before := health.failures(), reauthentications.Hits()
	wait(t, func() bool { return reauthentications.Hits() > before+10 }, "again and again")
	assert.Equal(t, was, health.failures(), "it was ready all the time")
}

// countingHealth counts the reports that Kafka is not ready.
type countingHealth struct {
	Health
	mu sync.Mutex
	n  int
}

func (h *countingHealth) Set(check string, err error) {
	if check == CheckKafka && err != nil {
		h.mu.Lock()
		h.n++
		h.mu.Unlock()
	}
	h.Health.Set(check, err)
}

func (h *countingHealth) failures() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}
