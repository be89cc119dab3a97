package devstack

import (
	"cmp"
	"context"
	"log/slog"
	"strconv"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// Namespace is the namespace that the servers of this package serve.
const Namespace = "default"

// TemporalOptions say how to run the dev server.
type TemporalOptions struct {
	// CLI is the path of the Temporal CLI; default the one that TemporalCLI returns.
	CLI string
	// DBFile is the file for the data, which then survive Kill and Start. By default they are in
	// memory.
	DBFile string
	// SQLitePragmas are settings of the database, as NAME=VALUE.
	SQLitePragmas []string
	// UI serves the Temporal UI too, on UIPort, or on a free port if UIPort is 0.
	UI     bool
	UIPort int
	// Port of the frontend; default a free port.
	Port int
	// LogLevel of the server; default "never".
	LogLevel string
	// OnLine, if set, is called with each line that the server prints.
	OnLine func(line string)
	// DynamicConfig are additional settings of the server, as KEY=JSON.
	DynamicConfig []string
}

// Temporal is a Temporal dev server, which the Temporal CLI runs in one process.
type Temporal struct {
	options  TemporalOptions
	httpPort int
	process  *Process // nil while killed
}

// StartTemporal starts a dev server and returns when the server serves its namespace.
func StartTemporal(ctx context.Context, options TemporalOptions) (*Temporal, error) {
	if options.CLI == "" {
		var err error
		if options.CLI, err = TemporalCLI(); err != nil {
			return nil, err
		}
	}
	t := &Temporal{options: options}
	ports := []*int{&t.options.Port, &t.httpPort}
	if options.UI {
		ports = append(ports, &t.options.UIPort)
	}
	for _, port := range ports {
		if *port != 0 {
			continue
		}
		var err error
		if *port, err = FreePort(ctx); err != nil {
			return nil, err
		}
	}
	var err error
	for range startTries {
		if err = t.Start(ctx); err == nil {
			return t, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// Start starts the server again after Kill, with the same ports and data, and waits until the server
// serves its namespace. It does nothing if the server runs.
func (t *Temporal) Start(ctx context.Context) error {
	if t.process != nil {
		return nil
	}
	process, err := StartProcess(ctx, ProcessOptions{Path: t.options.CLI, Args: t.args(), OnLine: t.options.OnLine})
	if err != nil {
		return err
	}
	t.process = process
	if err := t.awaitNamespace(ctx); err != nil {
		t.Kill()
		return err
	}
	return nil
}

// startTries is how often a new server is started. It chooses free ports for its own services, and
// ends if another program takes one of them before it listens.
const startTries = 3

func (t *Temporal) args() []string {
	o := t.options
	args := []string{
		"server", "start-dev",
		"--ip", loopback,
		"--port", strconv.Itoa(o.Port),
		"--http-port", strconv.Itoa(t.httpPort),
		"--log-level", cmp.Or(o.LogLevel, "never"),
	}
	if o.UI {
		args = append(args, "--ui-ip", loopback, "--ui-port", strconv.Itoa(o.UIPort))
	} else {
		args = append(args, "--headless")
	}
	if o.DBFile != "" {
		args = append(args, "--db-filename", o.DBFile)
	}
	for _, pragma := range o.SQLitePragmas {
		args = append(args, "--sqlite-pragma", pragma)
	}
	for _, setting := range o.DynamicConfig {
		args = append(args, "--dynamic-config-value", setting)
	}
	return args
}

// requestTimeout limits a request to a server that may not be up yet.
const requestTimeout = 2 * time.Second

func (t *Temporal) awaitNamespace(ctx context.Context) error {
	return t.process.awaitSuccess(ctx, "namespace "+Namespace, t.checkNamespace)
}

// checkNamespace reads the namespace and counts its runs. It does both, because a server that starts
// serves the namespace before its list of runs.
func (t *Temporal) checkNamespace(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c, err := t.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	service := c.WorkflowService()
	if _, err = service.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: Namespace}); err != nil {
		return err
	}
	_, err = service.CountWorkflowExecutions(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: Namespace})
	return err
}

// Client returns a client of the server's namespace. The caller must close it.
func (t *Temporal) Client(ctx context.Context) (client.Client, error) {
	return client.DialContext(ctx, client.Options{
		HostPort:  t.Address(),
		Namespace: Namespace,
		Logger:    log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
}

// Address returns the host:port of the frontend, the value of TEMPORAL_ADDRESS.
func (t *Temporal) Address() string { return Loopback(t.options.Port) }

// UIURL returns the URL of the Temporal UI, or "" if the server does not serve the UI.
func (t *Temporal) UIURL() string {
	if !t.options.UI {
		return ""
	}
	return "http://" + Loopback(t.options.UIPort)
}

// CPU returns the processor time that the server has used so far.
func (t *Temporal) CPU() (time.Duration, error) { return t.process.CPU() }

// Pause stops the server with SIGSTOP, so that it keeps its connections and answers nothing until
// Resume.
func (t *Temporal) Pause() error { return t.process.Pause() }

// Resume ends a pause. Timers that were due meanwhile fire at once.
func (t *Temporal) Resume() error { return t.process.Resume() }

// Stop ends the server with SIGTERM, in order. Start starts it again.
func (t *Temporal) Stop(ctx context.Context) error {
	if t.process == nil {
		return nil
	}
	_, err := t.process.Stop(ctx)
	t.process = nil
	return err
}

// Kill ends the server with SIGKILL, as in a crash. Start starts it again.
func (t *Temporal) Kill() {
	if t.process != nil {
		t.process.Kill()
		t.process = nil
	}
}

// Close ends the server.
func (t *Temporal) Close() { t.Kill() }
