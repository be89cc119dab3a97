package command

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
func (i *instance) tryEverything(ctx context.Context) error {
	checks, end, err := i.checks()
	if err != nil {
		return err
	}
	defer end()
	return preflight.Report(ctx, os.Stdout, i.settings.JSON, checks)
}

// checks are in the order in which they are printed. end frees what they use.
func (i *instance) checks() (checks []preflight.Check, end func(), err error) {
	temporal, err := preflight.NewTemporal(i.temporal, fanout.SearchAttributeKeys())
	if err != nil {
		return nil, nil, err
	}
	kafka := &kafkaChecks{settings: i.settings, temporal: temporal}
	end = func() {
		within(closeWait, kafka.close, temporal.Close)
	}
	if i.settings.static() {
		kafka.connection = i.settings.connection(genesys.ConnectionDetails{}, i.checked)
	}
	if !i.settings.static() || i.settings.integrations() {
		source, err := i.newSource(i.settings.genesysOptions(i.log))
		if err != nil {
			return nil, nil, err
		}
		asked := &genesysChecks{source: source, client: i.settings.GenesysClientID, targets: i.targets, found: func(details genesys.ConnectionDetails) ingest.Connection {
			kafka.connection = i.settings.connection(details, i.checked)
			return kafka.connection
		}}
		if !i.settings.static() {
			checks = append(checks, asked.details()...)
		}
		if i.settings.integrations() {
			checks = append(checks, asked.integrations(!i.settings.static())...)
		}
	}
	checks = append(checks, kafka.checks()...)
	checks = append(checks, temporal.Checks()...)
	checks = append(checks, kafka.retention())
	if i.settings.eager() {
		checks = append(checks, preflight.Targets(i.targets)...)
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
