package devstack

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"genesys-fanout/internal/await"
)

// Request is one that a Target was asked.
type Request struct {
	Number  int // 1, 2, … in the order of arrival at this target
	Time    time.Time
	Method  string
	Path    string
	EventID string // X-Genesys-Event-ID
	Attempt int    // X-Delivery-Attempt, 0 where it is not a number
	// Header holds what the options keep; the script sees all of them.
	Header http.Header
	SHA256 [sha256.Size]byte // of the body
	Size   int               // of the body, in bytes
	Body   []byte            // where the options keep bodies; the script always sees it
	Status int               // that was answered, 0 for a reset or a request that the sender gave up
}

// Answer is how a Target replies. The zero Answer is 200.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	Delay  time.Duration // before the answer
	Hang   bool          // no answer until the sender gives up, or the target closes
	Reset  bool          // break the connection instead of answering
}

// Script decides on an answer. It is called concurrently.
type Script func(Request) Answer

// TargetOptions say how a target behaves.
type TargetOptions struct {
	Script     Script   // default: 200 to everything
	KeepBodies bool     // else only their hashes are kept
	Headers    []string // names of the headers to keep, beside those that Request has fields for
	Port       int      // default a free one
	// Discard keeps no request, only their number.
	Discard bool
	// OnAnswer, where set, is called after each answer.
	OnAnswer func(Request)
}

// Target is an HTTP service that answers by a script and remembers what it was
// asked.
type Target struct {
	options TargetOptions
	gate    *gate
	server  *http.Server
	served  chan struct{}
	closing context.Context // ends what hangs
	close   context.CancelFunc

	mu       sync.Mutex
	script   Script
	count    int
	answered int
	requests []*Request
	byEvent  map[string][]*Request
}

// maxTargetBody bounds a body; the largest message of the project is far below.
const maxTargetBody = 64 << 20

// StartTarget starts a target.
func StartTarget(ctx context.Context, options TargetOptions) (*Target, error) {
	gate, err := newGate(ctx, options.Port)
	if err != nil {
		return nil, err
	}
	closing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &Target{
		options: options,
		gate:    gate,
		served:  make(chan struct{}),
		closing: closing,
		close:   cancel,
		byEvent: make(map[string][]*Request),
	}
	t.SetScript(options.Script)
	t.server = &http.Server{
		Handler:           t,
		ReadHeaderTimeout: time.Minute,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
		ErrorLog: log.New(io.Discard, "", 0), // a reset is what a script asked for
	}
	go func() {
		defer close(t.served)
		_ = t.server.Serve(gate) // ends with Close
	}()
	return t, nil
}

type connKey struct{}

// URL of the target, without a path.
func (t *Target) URL() string { return "http://" + t.gate.Addr().String() }

// SetScript changes how requests are answered from now on; nil is 200.
func (t *Target) SetScript(script Script) {
	if script == nil {
		script = func(Request) Answer { return Answer{} }
	}
	t.mu.Lock()
	t.script = script
	t.mu.Unlock()
}

// ServeHTTP implements http.Handler.
func (t *Target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTargetBody))
	if err != nil {
		return // the sender broke off: it asked nothing
	}
	attempt, _ := strconv.Atoi(r.Header.Get("X-Delivery-Attempt"))
	request := Request{
		Time:    time.Now(),
		Method:  r.Method,
		Path:    r.URL.Path,
		EventID: r.Header.Get("X-Genesys-Event-ID"),
		Attempt: attempt,
		Header:  r.Header,
		SHA256:  sha256.Sum256(body),
		Size:    len(body),
		Body:    body,
	}
	kept, script := t.record(&request)
	answer := script(request)
	status := t.reply(w, r, answer)
	t.settle(kept, status)
	if t.options.OnAnswer != nil {
		request.Status = status
		t.options.OnAnswer(request)
	}
}

// record numbers the request and keeps what the options ask for.
func (t *Target) record(request *Request) (*Request, Script) {
	kept := *request
	kept.Header = t.selected(request.Header)
	if !t.options.KeepBodies {
		kept.Body = nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	request.Number, kept.Number = t.count, t.count
	if !t.options.Discard {
		t.requests = append(t.requests, &kept)
		t.byEvent[kept.EventID] = append(t.byEvent[kept.EventID], &kept)
	}
	return &kept, t.script
}

func (t *Target) selected(all http.Header) http.Header {
	if len(t.options.Headers) == 0 {
		return nil
	}
	selected := make(http.Header, len(t.options.Headers))
	for _, name := range t.options.Headers {
		if values := all.Values(name); len(values) > 0 {
			selected[http.CanonicalHeaderKey(name)] = slices.Clone(values) // or all other headers are kept with it
		}
	}
	return selected
}

func (t *Target) settle(kept *Request, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept.Status = status
	t.answered++
}

// reply answers and returns the status, or 0 where none was sent.
func (t *Target) reply(w http.ResponseWriter, r *http.Request, answer Answer) int {
	if answer.Delay > 0 && !t.delay(r.Context(), answer.Delay) {
		return 0
	}
	if answer.Hang {
		select {
		case <-r.Context().Done():
		case <-t.closing.Done():
		}
	}
	if answer.Hang || answer.Reset {
		if conn, ok := r.Context().Value(connKey{}).(*gateConn); ok {
			conn.reset()
		}
		return 0
	}
	for name, values := range answer.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	status := answer.Status
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer.Body) // the sender may be gone
	return status
}

// delay waits and reports whether an answer still makes sense.
func (t *Target) delay(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-t.closing.Done():
	}
	return false
}

// Count is the number of requests so far.
func (t *Target) Count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// Requests are all so far, in the order of arrival.
func (t *Target) Requests() []Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return copied(t.requests)
}

// ByEvent are the requests for one event, in the order of arrival.
func (t *Target) ByEvent(id string) []Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return copied(t.byEvent[id])
}

// Events is the number of different events among the requests.
func (t *Target) Events() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byEvent)
}

func copied(requests []*Request) []Request {
	list := make([]Request, len(requests))
	for i, r := range requests {
		list[i] = *r
	}
	return list
}

// ClearRequests drops the requests so far and begins to count anew.
func (t *Target) ClearRequests() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count, t.answered, t.requests = 0, 0, nil
	clear(t.byEvent)
}

// Progress says how far the requests to the target have come.
func (t *Target) Progress() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%d requests for %d events, %d answered", t.count, len(t.byEvent), t.answered)
}

// Wait waits until condition holds. It fails when ctx ends, and when no request
// and no answer has come for await.Patience.
func (t *Target) Wait(ctx context.Context, condition func(*Target) bool) error {
	return await.Until(ctx, "the requests to a target", func() (any, bool) { return t.Progress(), condition(t) })
}

// Stop closes the port and breaks every connection, as a crash does.
func (t *Target) Stop() { t.gate.shut() }

// Start opens the same port again.
func (t *Target) Start(ctx context.Context) error { return t.gate.open(ctx) }

// Close ends the target and what hangs in it.
func (t *Target) Close() {
	t.close()
	_ = t.server.Close()
	<-t.served
}
