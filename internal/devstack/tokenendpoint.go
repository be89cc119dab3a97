package devstack

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// TokenEndpoint is the token endpoint of an OpenID Connect provider with one client, for
// brokers with KafkaOptions.Tokens. Its tokens are not signed: that takes no key,
// and Apache Kafka's default validator accepts them.
type TokenEndpoint struct {
	gate   *gate
	server *http.Server
	served chan struct{}
	id     string

	mu     sync.Mutex
	secret string
	life   time.Duration
	issued map[string]time.Time // until when
	calls  int
	scope  string
}

const tokensPath = "/token"

// StartTokenEndpoint starts an endpoint whose tokens are good for a time.
func StartTokenEndpoint(ctx context.Context, life time.Duration) (*TokenEndpoint, error) {
	gate, err := newGate(ctx, 0)
	if err != nil {
		return nil, err
	}
	t := &TokenEndpoint{
		gate: gate, served: make(chan struct{}), id: "ingest", secret: rand.Text() + ",=", life: life, // as a generated secret may be
		issued: make(map[string]time.Time),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+tokensPath, t.issue)
	t.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() {
		defer close(t.served)
		_ = t.server.Serve(gate) // ends with Close
	}()
	return t, nil
}

// issue answers a request with the client's credentials (RFC 6749, section 4.4).
func (t *TokenEndpoint) issue(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	id, secret, _ := r.BasicAuth()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls++
	t.scope = r.PostFormValue("scope")
	w.Header().Set("Content-Type", "application/json")
	if r.PostFormValue("grant_type") != "client_credentials" || !equal(id, t.id) || !equal(secret, t.secret) {
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": "client not found or secret wrong"})
		return
	}
	now := time.Now()
	token := unsigned(map[string]any{"sub": t.id, "iat": now.Unix(), "exp": now.Add(t.life).Unix(), "jti": rand.Text()})
	t.issued[token] = now.Add(t.life)
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": "bearer", "expires_in": int(t.life.Seconds())})
}

// unsigned is a JSON Web Token of the algorithm "none" (RFC 7519, section 6).
func unsigned(claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err) // they are strings and numbers
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(payload) + "."
}

// accepts is true for a token that was issued and is still good.
func (t *TokenEndpoint) accepts(token string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Now().Before(t.issued[token])
}

// Settings are those of an ingest that gets its tokens here; secrets with a comma
// are written as KAFKA_OPTIONS wants them.
func (t *TokenEndpoint) Settings() []string {
	return []string{
		"KAFKA_SASL_MECHANISM=OAUTHBEARER", "KAFKA_SASL_USERNAME=", "KAFKA_SASL_PASSWORD=", "KAFKA_OPTIONS=" + t.Options(),
	}
}

// Options are the value of KAFKA_OPTIONS among Settings.
func (t *TokenEndpoint) Options() string {
	var pairs []string
	for name, value := range t.LibrdkafkaSettings() {
		pairs = append(pairs, name+"="+strings.ReplaceAll(value, ",", `\,`))
	}
	return strings.Join(pairs, ",")
}

// LibrdkafkaSettings are the same as settings of librdkafka.
func (t *TokenEndpoint) LibrdkafkaSettings() map[string]string {
	return map[string]string{
		"sasl.oauthbearer.method":             "oidc",
		"sasl.oauthbearer.client.id":          t.id,
		"sasl.oauthbearer.client.secret":      t.Secret(),
		"sasl.oauthbearer.scope":              "kafka",
		"sasl.oauthbearer.token.endpoint.url": fmt.Sprintf("http://%s%s", t.gate.Addr(), tokensPath),
	}
}

// Secret is the client's secret of now.
func (t *TokenEndpoint) Secret() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.secret
}

// SetSecret changes the client's secret. Tokens that were issued stay good.
func (t *TokenEndpoint) SetSecret(secret string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.secret = secret
}

// Calls is how often a token was asked for.
func (t *TokenEndpoint) Calls() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.calls
}

// Scope is the scope of the last request.
func (t *TokenEndpoint) Scope() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.scope
}

// Stop begins an outage of the endpoint.
func (t *TokenEndpoint) Stop() { t.gate.shut() }

// Start ends an outage.
func (t *TokenEndpoint) Start(ctx context.Context) error { return t.gate.open(ctx) }

// Close ends the endpoint.
func (t *TokenEndpoint) Close() {
	_ = t.server.Close()
	<-t.served
	_ = t.gate.Close()
}
