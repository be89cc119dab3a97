package ingest

import (
	"context"
	"os"
	"time"

	"genesys-fanout/fanout"
	"genesys-fanout/genesys"
	"genesys-fanout/ingest"
	"genesys-fanout/internal/preflight"
)

// tryEverything is --preflight: it tries what run would connect to.
func (c *configuration) tryEverything(ctx context.Context) error {
	checks, end, err := c.checks()
	if err != nil {
		return err
	}
	defer end()
	return preflight.Report(ctx, os.Stdout, c.settings.JSON, checks)
}

// checks are in the order in which they are printed. end frees what they use.
func (c *configuration) checks() (checks []preflight.Check, end func(), err error) {
	temporal, err := preflight.NewTemporalChecks(c.temporal, fanout.SearchAttributeKeys())
	if err != nil {
		return nil, nil, err
	}
	kafka := &kafkaChecks{settings: c.settings, temporal: temporal}
	end = func() {
		within(closeWait, kafka.close, temporal.Close)
	}
	if c.settings.static() {
		kafka.connection = c.settings.connection(genesys.ConnectionDetails{}, c.checked)
	}
	if !c.settings.static() || c.settings.integrations() {
		source, err := c.newSource(c.settings.genesysOptions(c.log))
		if err != nil {
			return nil, nil, err
		}
		asked := &genesysChecks{source: source, client: c.settings.GenesysClientID, targets: c.targets, found: func(details genesys.ConnectionDetails) ingest.Connection {
			kafka.connection = c.settings.connection(details, c.checked)
			return kafka.connection
		}}
		if !c.settings.static() {
			checks = append(checks, asked.details()...)
		}
		if c.settings.integrations() {
			checks = append(checks, asked.integrations(!c.settings.static())...)
		}
	}
	checks = append(checks, kafka.checks()...)
	checks = append(checks, temporal.Checks()...)
	checks = append(checks, kafka.retention())
	if c.settings.eager() {
		checks = append(checks, preflight.Targets(c.targets)...)
	}
	return checks, end, nil
}

// closeWait is how long the connections may take to close; the end of the process
// closes what is left.
const closeWait = 500 * time.Millisecond

func within(limit time.Duration, all ...func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, one := range all {
			one()
		}
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}
