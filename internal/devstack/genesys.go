package devstack

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// The paths of the endpoints.
const (
	TokenPath        = "/oauth/token"
	EventBridgePath  = "/api/v2/eventbridge"
	IntegrationsPath = "/api/v2/integrations"
)

// defaultTokenLifetime is the lifetime that Genesys Cloud gives to the tokens of an OAuth client by
// default.
const defaultTokenLifetime = 24 * time.Hour

// GenesysOptions say which client the API accepts, and what it answers.
type GenesysOptions struct {
	ClientID, ClientSecret string // default: random ones
	Details                ConnectionDetails
	Integrations           []Integration
	TokenLife              time.Duration // lifetime of a token; default 24 h
}

// ConnectionDetails are the broker's address and credentials, as the API answers them.
type ConnectionDetails struct {
	BootstrapServers string   `json:"bootstrapServers,omitempty"`
	SASLMechanism    string   `json:"saslMechanism,omitempty"`
	SASLUsername     string   `json:"saslUsername,omitempty"`
	SASLPassword     string   `json:"saslPassword,omitempty"`
	Topics           []string `json:"-"`
}

// DetailsOf returns the connection details of a broker.
func DetailsOf(k *Kafka, topics ...string) ConnectionDetails {
	return ConnectionDetails{
		BootstrapServers: k.Bootstrap(),
		SASLMechanism:    "SCRAM-SHA-512",
		SASLUsername:     k.Username(),
		SASLPassword:     k.Password(),
		Topics:           topics,
	}
}

// Failure is an error answer in place of the usual one. If Body is empty, the answer has the usual
// error body of its endpoint.
type Failure struct {
	Status int
	Header http.Header
	Body   string
}

// Genesys is a stand-in for the OAuth server and the API of Genesys Cloud.
type Genesys struct {
	*httpServer
	options GenesysOptions

	mu       sync.Mutex
	details  ConnectionDetails
	tokens   map[string]time.Time // from a token to its expiry
	failures map[string][]Failure // by path, in the order of use
	calls    map[string]int       // by path
	scope    string               // of the last token request
}

// StartGenesys starts the stand-in.
func StartGenesys(ctx context.Context, options GenesysOptions) (*Genesys, error) {
	options.ClientID = cmp.Or(options.ClientID, uuid.NewString())
	options.ClientSecret = cmp.Or(options.ClientSecret, rand.Text())
	options.TokenLife = cmp.Or(options.TokenLife, defaultTokenLifetime)
	g := &Genesys{
		options:  options,
		details:  options.Details,
		tokens:   make(map[string]time.Time),
		failures: make(map[string][]Failure),
		calls:    make(map[string]int),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+TokenPath, g.withFailures(TokenPath, tokenError, g.serveToken))
	mux.HandleFunc("GET "+EventBridgePath, g.withFailures(EventBridgePath, apiError, g.serveEventBridge))
	mux.HandleFunc("GET "+IntegrationsPath, g.withFailures(IntegrationsPath, apiError, g.serveIntegrations))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		apiError(w, http.StatusNotFound, "not.found", "The requested resource was not found.")
	})
	var err error
	if g.httpServer, err = startHTTPServer(ctx, 0, withCorrelationID(mux)); err != nil {
		return nil, err
	}
	return g, nil
}

// correlationID is the header by which the support of Genesys finds a request.
const correlationID = "ININ-Correlation-Id"

// withCorrelationID gives each answer a correlation ID.
func withCorrelationID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(correlationID, uuid.NewString())
		next.ServeHTTP(w, r)
	})
}

// writeError writes the error body of an endpoint.
type writeError func(w http.ResponseWriter, status int, code, message string)

// withFailures counts the calls of an endpoint, and answers with the failures that Fail has queued
// for it, as long as there are any.
func (g *Genesys) withFailures(path string, writeError writeError, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		failure, fails := g.recordCall(path)
		if !fails {
			next(w, r)
			return
		}
		maps.Copy(w.Header(), canonical(failure.Header))
		if failure.Body == "" {
			writeError(w, failure.Status, "scripted.failure", http.StatusText(failure.Status))
			return
		}
		w.WriteHeader(failure.Status)
		_, _ = io.WriteString(w, failure.Body) // fails if the client has gone
	}
}

// canonical returns a header with its names in canonical form.
func canonical(header http.Header) http.Header {
	all := make(http.Header, len(header))
	for name, values := range header {
		all[http.CanonicalHeaderKey(name)] = values
	}
	return all
}

// recordCall counts a call, and takes the next failure from the endpoint's queue if there is one.
func (g *Genesys) recordCall(path string) (Failure, bool) {
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

func (g *Genesys) serveToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if r.PostFormValue("grant_type") != "client_credentials" {
		tokenError(w, http.StatusBadRequest, "unsupported_grant_type", "grant_type must be client_credentials")
		return
	}
	id, secret, _ := r.BasicAuth()
	if !equal(id, g.options.ClientID) || !equal(secret, g.options.ClientSecret) {
		tokenError(w, http.StatusUnauthorized, "invalid_client", "client not found or secret wrong")
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

func (g *Genesys) serveEventBridge(w http.ResponseWriter, r *http.Request) {
	if !g.isAuthorized(r) {
		apiError(w, http.StatusUnauthorized, "bad.credentials", "Invalid login credentials.")
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

// isAuthorized reports whether a request has a token that is valid.
func (g *Genesys) isAuthorized(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	g.mu.Lock()
	defer g.mu.Unlock()
	return ok && time.Now().Before(g.tokens[token])
}

// tokenError answers with an error as login.mypurecloud.com does.
func tokenError(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]any{"error": code, "description": message, "error_description": message})
}

// apiError answers with an error as api.mypurecloud.com does.
func apiError(w http.ResponseWriter, status int, code, message string) {
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
	_ = json.NewEncoder(w).Encode(body) // fails if the client has gone
}

// TokenURL returns the URL of the token endpoint, the value of GENESYS_TOKEN_URL. URL returns that of
// the API, the value of GENESYS_API_URL.
func (g *Genesys) TokenURL() string { return g.URL() + TokenPath }

// ClientID returns the ID of the client that the API accepts.
func (g *Genesys) ClientID() string { return g.options.ClientID }

// ClientSecret returns the secret of the client that the API accepts.
func (g *Genesys) ClientSecret() string { return g.options.ClientSecret }

// SetDetails changes the connection details that the API answers from now on.
func (g *Genesys) SetDetails(details ConnectionDetails) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.details = details
}

// Fail queues failures as the answers to the next calls of TokenPath, EventBridgePath or
// IntegrationsPath.
func (g *Genesys) Fail(path string, failures ...Failure) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failures[path] = append(g.failures[path], failures...)
}

// RevokeTokens makes every token that was issued so far invalid.
func (g *Genesys) RevokeTokens() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.tokens)
}

// Calls returns the number of calls of TokenPath, EventBridgePath or IntegrationsPath. Calls that
// failed count too.
func (g *Genesys) Calls(path string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls[path]
}

// Scope returns the scope of the last token request that succeeded.
func (g *Genesys) Scope() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.scope
}
