package ingest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/devstack"
)

// The batch of one partition cannot be read. The other partition is consumed, and the error is
// logged once and counted.
func TestIngest_IsNotReadyWhileAPartitionIsStalled(t *testing.T) {
	for _, codec := range []devstack.Codec{devstack.Gzip, devstack.Zstd} {
		t.Run(fmt.Sprint(codec), func(t *testing.T) {
			t.Parallel()
			broker, server := startKafka(t, map[string]int32{topic: 2}), newTemporal()
			registry := prometheus.NewRegistry()
			m := run(t, broker, server, measured(registry))
			wait(t, m.ready, "ready")
			produce(t, broker, 0, 0, 5)
			wait(t, func() bool { return committed(t, broker, 0) == 5 }, "consumes")
			require.NoError(t, broker.ProduceDamaged(t.Context(), topic, 0, codec))
			produce(t, broker, 0, 5, 8)
			wait(t, func() bool { return !m.ready() }, "not ready")
			assert.ErrorContains(t, m.health.of(CheckKafka), "events[0] is stalled at offset 5")
			assert.ErrorContains(t, m.health.of(CheckKafka), "Decompression")
			produce(t, broker, 1, 10, 20)
			wait(t, func() bool { return committed(t, broker, 1) == 10 }, "the other partition")
			wait(t, func() bool { return errorsOf(t, registry, kafka.ErrBadCompression) >= 3 }, "counted")
			assert.Equal(t, 1, strings.Count(m.log.text(), `level=WARN msg="Kafka reports an error"`), "once in 30 s")
			wait(t, func() bool { return strings.Contains(m.log.text(), "partitions are stalled by an error") }, "named")
			assert.Contains(t, m.log.text(), "partitions=events[0]@5")
			assert.EqualValues(t, 4, lag(t, registry, 0))
			assert.EqualValues(t, 5, committed(t, broker, 0))

			m.stop()
			require.NoError(t, m.end(t))
			require.NoError(t, broker.Commit(t.Context(), group, topic, 0, 6, "")) // as the cure says
			second := run(t, broker, server, nil)
			wait(t, func() bool { return committed(t, broker, 0) == 9 && second.ready() }, "continues")
			assert.Equal(t, 18, server.acceptedCount())
		})
	}
}

// errorsOf returns how often an error of a code was counted.
func errorsOf(t *testing.T, registry *prometheus.Registry, code kafka.ErrorCode) float64 {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() != "fanout_kafka_errors_total" {
			continue
		}
		for _, sample := range family.GetMetric() {
			if sample.GetLabel()[0].GetValue() == code.String() {
				return sample.GetCounter().GetValue()
			}
		}
	}
	return 0
}
