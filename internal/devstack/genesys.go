package devstack

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"io"
	"log"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
)

// The endpoints of Genesys.
const (
	TokenPath        = "/oauth/token"
	EventBridgePath  = "/api/v2/eventbridge"
	IntegrationsPath = "/api/v2/integrations"
)

// tokenLife is what Genesys Cloud gives client credentials by default.
const tokenLife = 24 * time.Hour

// GenesysOptions say whom the API knows and what it answers.
type GenesysOptions struct {
	ClientID, ClientSecret string // default: random ones
	Details                ConnectionDetails
	Integrations           []Integration
	TokenLife              time.Duration // default 24 h
}

// ConnectionDetails are what the API tells about the broker.
type ConnectionDetails struct {
	BootstrapServers string   `json:"bootstrapServers,omitempty"`
	SASLMechanism    string   `json:"saslMechanism,omitempty"`
	SASLUsername     string   `json:"saslUsername,omitempty"`
	SASLPassword     string   `json:"saslPassword,omitempty"`
	Topics           []string `json:"-"`
}

// DetailsOf are the connection details of a broker.
func DetailsOf(k *Kafka, topics ...string) ConnectionDetails {
	return ConnectionDetails{
		BootstrapServers: k.Bootstrap(),
		SASLMechanism:    "SCRAM-SHA-512",
		SASLUsername:     k.Username(),
		SASLPassword:     k.Password(),
		Topics:           topics,
	}
}

// Failure is an answer in place of the usual one. Without a body, it has the
// error body of the endpoint.
type Failure struct {
	Status int
	Header http.Header
	Body   string
}

// Genesys stands in for the OAuth server and the API of Genesys Cloud.
type Genesys struct {
	options GenesysOptions
	gate    *gate
	server  *http.Server
	served  chan struct{}

	mu       sync.Mutex
	details  ConnectionDetails
	tokens   map[string]time.Time // to their end
	failures map[string][]Failure // by path, in the order of use
	calls    map[string]int       // by path
	scope    string               // of the last token request
}

// StartGenesys starts the stand-in.
func StartGenesys(ctx context.Context, options GenesysOptions) (*Genesys, error) {
	options.ClientID = orDefault(options.ClientID, uuid.NewString())
	options.ClientSecret = orDefault(options.ClientSecret, rand.Text())
	if options.TokenLife == 0 {
		options.TokenLife = tokenLife
	}
	gate, err := newGate(ctx, 0)
	if err != nil {
		return nil, err
	}
	g := &Genesys{
		options:  options,
		gate:     gate,
		served:   make(chan struct{}),
		details:  options.Details,
		tokens:   make(map[string]time.Time),
		failures: make(map[string][]Failure),
		calls:    make(map[string]int),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+TokenPath, g.scripted(TokenPath, tokenFailure, g.token))
	mux.HandleFunc("GET "+EventBridgePath, g.scripted(EventBridgePath, apiFailure, g.eventBridge))
	mux.HandleFunc("GET "+IntegrationsPath, g.scripted(IntegrationsPath, apiFailure, g.integrations))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		apiFailure(w, http.StatusNotFound, "not.found", "The requested resource was not found.")
	})
	g.server = &http.Server{
		Handler:           identified(mux),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // TLS and broken connections are the caller's to tell
	}
	go func() {
		defer close(g.served)
		_ = g.server.Serve(gate) // ends with Close
	}()
	return g, nil
}

// correlationID is the header by which Genesys support finds a request.
const correlationID = "ININ-Correlation-Id"

// identified gives each answer an id.
func identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(correlationID, uuid.NewString())
		next.ServeHTTP(w, r)
	})
}

type refuse func(w http.ResponseWriter, status int, code, message string)

// scripted counts the calls of an endpoint and lets its failures go first.
func (g *Genesys) scripted(path string, refuse refuse, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		failure, failed := g.called(path)
		if !failed {
			next(w, r)
			return
		}
		maps.Copy(w.Header(), canonical(failure.Header))
		if failure.Body == "" {
			refuse(w, failure.Status, "scripted.failure", http.StatusText(failure.Status))
			return
		}
		w.WriteHeader(failure.Status)
		_, _ = io.WriteString(w, failure.Body) // the caller may be gone
	}
}

func canonical(header http.Header) http.Header {
	all := make(http.Header, len(header))
	for name, values := range header {
		all[http.CanonicalHeaderKey(name)] = values
	}
	return all
}

func (g *Genesys) called(path string) (Failure, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls[path]++
	queue := g.failures[path]
	if len(queue) == 0 {
		return Failure{}, false
	}
	g.failures[path] = queue[1:]
	return queue[0], true
}

func (g *Genesys) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if r.PostFormValue("grant_type") != "client_credentials" {
		tokenFailure(w, http.StatusBadRequest, "unsupported_grant_type", "grant_type must be client_credentials")
		return
	}
	id, secret, _ := r.BasicAuth()
	if !equal(id, g.options.ClientID) || !equal(secret, g.options.ClientSecret) {
		tokenFailure(w, http.StatusUnauthorized, "invalid_client", "client not found or secret wrong")
		return
	}
	token := rand.Text()
	g.mu.Lock()
	g.tokens[token] = time.Now().Add(g.options.TokenLife)
	g.scope = r.PostFormValue("scope")
	g.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": token,
		"token_type":   "bearer",
		"expires_in":   int(g.options.TokenLife.Seconds()),
	})
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (g *Genesys) eventBridge(w http.ResponseWriter, r *http.Request) {
	if !g.known(r.Header.Get("Authorization")) {
		apiFailure(w, http.StatusUnauthorized, "bad.credentials", "Invalid login credentials.")
		return
	}
	g.mu.Lock()
	details := g.details
	g.mu.Unlock()
	answer := map[string]any{"connectionDetails": details}
	if len(details.Topics) > 0 {
		answer["topics"] = details.Topics
	}
	writeJSON(w, http.StatusOK, answer)
}

func (g *Genesys) known(authorization string) bool {
	const bearer = "Bearer "
	if len(authorization) < len(bearer) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	end, known := g.tokens[authorization[len(bearer):]]
	return known && time.Now().Before(end)
}

// tokenFailure answers as login.mypurecloud.com does.
func tokenFailure(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]any{"error": code, "description": message, "error_description": message})
}

// apiFailure answers as api.mypurecloud.com does.
func apiFailure(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]any{
		"message":           message,
		"code":              code,
		"status":            status,
		"messageWithParams": message,
		"messageParams":     map[string]string{},
		"contextId":         uuid.NewString(),
		"details":           []any{},
		"errors":            []any{},
	})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller may be gone
}

// URL of the API, as for GENESYS_API_URL.
func (g *Genesys) URL() string { return "http://" + g.gate.Addr().String() }

// TokenURL is as for GENESYS_TOKEN_URL.
func (g *Genesys) TokenURL() string { return g.URL() + TokenPath }

// ClientID is the one that the API knows.
func (g *Genesys) ClientID() string { return g.options.ClientID }

// ClientSecret is the one that the API knows.
func (g *Genesys) ClientSecret() string { return g.options.ClientSecret }

// SetDetails changes what the API answers from now on.
func (g *Genesys) SetDetails(details ConnectionDetails) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.details = details
}

// Fail queues answers for the next calls of TokenPath, EventBridgePath or
// IntegrationsPath.
func (g *Genesys) Fail(path string, failures ...Failure) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failures[path] = append(g.failures[path], failures...)
}

// RevokeTokens makes every token given so far invalid.
func (g *Genesys) RevokeTokens() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.tokens)
}

// Calls counts the calls of such a path, failed ones too.
func (g *Genesys) Calls(path string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls[path]
}

// Scope is that of the last token request that was granted.
func (g *Genesys) Scope() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.scope
}

// Stop closes the port and breaks every connection.
func (g *Genesys) Stop() { g.gate.shut() }

// Start opens the same port again.
func (g *Genesys) Start(ctx context.Context) error { return g.gate.open(ctx) }

// Close ends the stand-in.
func (g *Genesys) Close() {
	_ = g.server.Close()
	<-g.served
}
