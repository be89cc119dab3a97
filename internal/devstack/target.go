package devstack

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"genesys-fanout/internal/await"
)

// Request is a request that a Target received.
type Request struct {
	Number  int // 1, 2, … in the order of arrival at this target
	Time    time.Time
	Method  string
	Path    string
	EventID string // X-Genesys-Event-ID
	Attempt int    // X-Delivery-Attempt; 0 if that is not a number
	// Header contains the headers that the options name. A script gets all headers.
	Header http.Header
	SHA256 [sha256.Size]byte // of the body
	Size   int               // of the body, in bytes
	Body   []byte            // nil unless the options keep bodies; a script always gets it
	Status int               // of the answer; 0 after a reset, or if the client gave up

	Answered time.Time // when Status was known
}

// Answer is how a Target answers a request. The zero Answer is status 200.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	Delay  time.Duration // before the answer
	Hang   bool          // do not answer until the client gives up or the target closes
	Reset  bool          // break the connection instead of answering
}

// Script chooses the answer to a request. It is called concurrently.
type Script func(Request) Answer

// TargetOptions say how a target behaves.
type TargetOptions struct {
	Script     Script   // default: 200 for every request
	KeepBodies bool     // default: keep only the bodies' hashes
	Headers    []string // headers to keep, in addition to those that Request has fields for
	Port       int      // default a free port
	// Discard keeps no requests. Count still counts them.
	Discard bool
	// OnAnswer, if set, is called after each answer.
	OnAnswer func(Request)
}

// Target is an HTTP target that answers by a script and records the requests that it receives.
type Target struct {
	*httpServer
	options TargetOptions
	closing context.Context // ended by Close
	cancel  context.CancelFunc

	mu       sync.Mutex
	script   Script
	count    int
	answered int
	requests []*Request
	byEvent  map[string][]*Request
}

// maxTargetBody is the largest body that a target reads. The largest message of the project is far
// smaller.
const maxTargetBody = 64 << 20

// StartTarget starts a target.
func StartTarget(ctx context.Context, options TargetOptions) (*Target, error) {
	t := &Target{options: options, byEvent: make(map[string][]*Request)}
	t.closing, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	t.SetScript(options.Script)
	var err error
	if t.httpServer, err = startHTTPServer(ctx, options.Port, t); err != nil {
		t.cancel()
		return nil, err
	}
	return t, nil
}

// SetScript changes how the target answers from now on. A nil script answers 200.
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
		return // the client broke off, so this is not a complete request
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
	status := t.reply(w, r, script(request))
	t.recordAnswer(kept, status)
	if t.options.OnAnswer != nil {
		request.Status = status
		t.options.OnAnswer(request)
	}
}

// record gives a request its number and records it, without the headers and the body that the
// options do not keep. It returns the record and the current script.
func (t *Target) record(request *Request) (*Request, Script) {
	kept := *request
	kept.Header = t.selectHeaders(request.Header)
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

func (t *Target) selectHeaders(all http.Header) http.Header {
	if len(t.options.Headers) == 0 {
		return nil
	}
	selected := make(http.Header, len(t.options.Headers))
	for _, name := range t.options.Headers {
		if values := all.Values(name); len(values) > 0 {
			// A clone, because all headers of a request share one array, which would be kept with it.
			selected[http.CanonicalHeaderKey(name)] = slices.Clone(values)
		}
	}
	return selected
}

func (t *Target) recordAnswer(kept *Request, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept.Status, kept.Answered = status, time.Now()
	t.answered++
}

// reply sends the answer and returns its status, or 0 if no answer was sent.
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
		resetConnection(r)
		return 0
	}
	maps.Copy(w.Header(), canonical(answer.Header))
	status := cmp.Or(answer.Status, http.StatusOK)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer.Body) // fails if the client has gone
	return status
}

// delay waits for d. It returns false if the client or the target gives up first.
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

// Count returns the number of requests so far.
func (t *Target) Count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// Requests returns all requests so far, in the order of arrival.
func (t *Target) Requests() []Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return copied(t.requests)
}

// ByEvent returns the requests for one event, in the order of arrival.
func (t *Target) ByEvent(id string) []Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return copied(t.byEvent[id])
}

// Events returns the number of different events among the requests.
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

// ClearRequests deletes the recorded requests and sets Count to 0.
func (t *Target) ClearRequests() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count, t.answered, t.requests = 0, 0, nil
	clear(t.byEvent)
}

// Progress describes how many requests have come and were answered.
func (t *Target) Progress() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%d requests for %d events, %d answered", t.count, len(t.byEvent), t.answered)
}

// Wait waits until condition returns true. It fails when ctx ends, and when no request has come and
// none was answered for await.Patience.
func (t *Target) Wait(ctx context.Context, condition func(*Target) bool) error {
	return await.Until(ctx, "the requests to a target", func() (any, bool) { return t.Progress(), condition(t) })
}

// Close ends the target and the requests that hang.
func (t *Target) Close() {
	t.cancel()
	t.httpServer.Close()
}
