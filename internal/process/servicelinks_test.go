package process

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestServiceLinks_AreIgnoredAndNothingElse(t *testing.T) {
	for name, ignored := range map[string]bool{
		// A Service named fanout.
		"FANOUT_SERVICE_HOST":        true,
		"FANOUT_SERVICE_PORT":        true,
		"FANOUT_SERVICE_PORT_HTTP":   true,
		"FANOUT_PORT":                true,
		"FANOUT_PORT_9464_TCP":       true,
		"FANOUT_PORT_9464_TCP_PROTO": true,
		"FANOUT_PORT_9464_TCP_PORT":  true,
		"FANOUT_PORT_9464_TCP_ADDR":  true,
		"FANOUT_PORT_53_UDP_ADDR":    true,
		"FANOUT_PORT_132_SCTP_PROTO": true,
		"FANOUT_PORT_9464":           false,
		"FANOUT_PORT_9464_QUIC":      false,
		"FANOUT_PORT_9464_TCP_HOST":  false,
		"FANOUT_PORT_HTTP_TCP":       false,
		"FANOUT_SERVICE":             false,
		"FANOUT_SERVICE_ADDR":        false,
		"FANOUT_SERVICE_PORT_":       false,
		"FANOUT_SERVICE_HOST_IP":     false,

		// Services named fanout-worker, fanout-ingest-metrics, fanout-2 and fanout-port.
		"FANOUT_WORKER_SERVICE_HOST":               true,
		"FANOUT_WORKER_SERVICE_PORT":               true,
		"FANOUT_WORKER_SERVICE_PORT_HTTP_METRICS":  true,
		"FANOUT_WORKER_PORT":                       true,
		"FANOUT_WORKER_PORT_9464_TCP":              true,
		"FANOUT_INGEST_METRICS_PORT_9465_TCP_PORT": true,
		"FANOUT_2_SERVICE_HOST":                    true,
		"FANOUT_PORT_SERVICE_HOST":                 true,
		"FANOUT_PORT_PORT_80_TCP":                  true,

		// Names that somebody may have meant as a setting.
		"FANOUT_TARGET":               false,
		"FANOUT_TARGETS_FILE":         false,
		"FANOUT_HTTP_ADDRESS":         false,
		"FANOUT_HTTPPORT":             false,
		"FANOUT__SERVICE_HOST":        false,
		"FANOUT_worker_SERVICE_HOST":  false,
		"FANOUT_WORKER_SERVICE_HOSTS": false,
		"FANOUT_WORKER_PORTS":         false,
	} {
		_, _, _, problems := parseExample(nil, Env{name: "tcp://10.96.0.11:9464"})
		if ignored {
			assert.NoError(t, problems.Err(), name)
		} else {
			assert.ErrorContains(t, problems.Err(), name+": is not a setting; ", name)
		}
	}
}
