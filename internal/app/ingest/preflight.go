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

// runPreflight runs --preflight: it tries every connection that the process would make.
func (c *configuration) runPreflight(ctx context.Context) error {
	checks, closeAll, err := c.checks()
	if err != nil {
		return err
	}
	defer closeAll()
	return preflight.Report(ctx, os.Stdout, c.settings.JSON, checks)
}

// checks returns the checks in the order in which they are printed. closeAll closes their
// connections.
func (c *configuration) checks() (checks []preflight.Check, closeAll func(), err error) {
	temporal, err := preflight.NewTemporalChecks(c.temporal, fanout.SearchAttributeKeys())
	if err != nil {
		return nil, nil, err
	}
	kafka := &kafkaChecks{settings: c.settings, temporal: temporal}
	closeAll = func() { callWithin(closeWait, kafka.close, temporal.Close) }
	if c.settings.static() {
		kafka.connection = c.settings.connection(genesys.ConnectionDetails{}, c.checked)
	}
	if !c.settings.static() || c.settings.integrations() {
		source, err := c.newSource(c.settings.genesysOptions(c.log))
		if err != nil {
			return nil, nil, err
		}
		api := &genesysChecks{
			source: source, client: c.settings.GenesysClientID, targets: c.targets,
			connection: func(details genesys.ConnectionDetails) ingest.Connection {
				kafka.connection = c.settings.connection(details, c.checked)
				return kafka.connection
			},
		}
		if !c.settings.static() {
			checks = append(checks, api.detailsChecks()...)
		}
		if c.settings.integrations() {
			checks = append(checks, api.integrationChecks(!c.settings.static())...)
		}
	}
	checks = append(checks, kafka.checks()...)
	checks = append(checks, temporal.Checks()...)
	checks = append(checks, kafka.retention())
	if c.settings.eager() {
		checks = append(checks, preflight.Targets(c.targets)...)
	}
	return checks, closeAll, nil
}

// closeWait is how long the connections may take to close. The end of the process closes the
// others.
const closeWait = 500 * time.Millisecond

// callWithin calls functions one after the other, and returns when all have returned or the
// limit is over.
func callWithin(limit time.Duration, functions ...func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, function := range functions {
			function()
		}
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}
