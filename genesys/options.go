package genesys

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// The settings that hold an address, as errors name them.
const (
	apiURLSetting          = "GENESYS_API_URL"
	tokenURLSetting        = "GENESYS_TOKEN_URL"
	eventBridgePathSetting = "GENESYS_EVENTBRIDGE_PATH"
)

// What an empty field of Options stands for.
const (
	DefaultAPIURL          = "https://api.mypurecloud.com"
	DefaultEventBridgePath = "/api/v2/eventbridge"
	tokenPath              = "/oauth/token"
)

// Options are the settings of a Client. Every error about them names the
// environment variable the value comes from.
type Options struct {
	// APIURL is the API host of the organisation's region (GENESYS_API_URL),
	// DefaultAPIURL when empty. https, or http on loopback.
	APIURL string
	// TokenURL is where tokens are issued (GENESYS_TOKEN_URL). Empty: the API
	// host with api. replaced by login., path /oauth/token.
	TokenURL string
	// EventBridgePath is the path of the connection details
	// (GENESYS_EVENTBRIDGE_PATH), DefaultEventBridgePath when empty.
	EventBridgePath string
	// ClientID and ClientSecret are the OAuth client credentials, both required.
	ClientID, ClientSecret string
	// Scope is sent with the token request when it is set (GENESYS_OAUTH_SCOPE).
	Scope string
	// HTTPClient replaces the default client. Its redirect policy is not used.
	HTTPClient *http.Client
	// Logger receives debug lines; nil drops them.
	Logger *slog.Logger
}

// String describes the options without the client secret.
func (o Options) String() string {
	return fmt.Sprintf("API %s, token %s, path %s, client %s", shown(o.APIURL), shown(o.TokenURL), o.EventBridgePath, o.ClientID)
}

// Format prints String for every verb, so that no %+v or %#v shows the secret.
func (o Options) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, o.String()) }

// LogValue is what a log shows: everything but the client secret.
func (o Options) LogValue() slog.Value { return slog.StringValue(o.String()) }

// shown is a URL as it may be printed: a password in it is hidden, and what is
// no URL is not shown at all.
func shown(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(not a URL)"
	}
	return u.Redacted()
}

// endpoints are the addresses a Client asks.
type endpoints struct {
	token, details, integrations *url.URL
	// tokenSetting is the setting that the host of token comes from.
	tokenSetting string
}

// endpoints checks the options and derives the addresses. All faults are
// reported together, one line each.
func (o Options) endpoints() (endpoints, error) {
	api, apiErr := baseURL(apiURLSetting, orDefault(o.APIURL, DefaultAPIURL))
	path, pathErr := detailsPath(orDefault(o.EventBridgePath, DefaultEventBridgePath))
	errs := []error{apiErr, pathErr, required("GENESYS_CLIENT_ID", o.ClientID), required("GENESYS_CLIENT_SECRET", o.ClientSecret)}

	var token *url.URL
	tokenSetting := apiURLSetting
	switch {
	case o.TokenURL != "":
		var err error
		tokenSetting = tokenURLSetting
		token, err = baseURL(tokenURLSetting, o.TokenURL)
		errs = append(errs, err)
	case api != nil:
		token = deriveTokenURL(api)
	}
	if err := errors.Join(errs...); err != nil {
		return endpoints{}, err
	}
	if api.Path == "" {
		api.Path = "/" // JoinPath gives a relative path otherwise
	}
	details := api.JoinPath(path.EscapedPath())
	details.RawQuery = path.RawQuery
	return endpoints{token: token, details: details, integrations: api.JoinPath(integrationsPath), tokenSetting: tokenSetting}, nil
}

func orDefault(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

func required(setting, value string) error {
	if value == "" {
		return fmt.Errorf("%s: not set; set it, or set KAFKA_BOOTSTRAP_SERVERS to do without the Genesys API", setting)
	}
	return nil
}

// ValidateURL checks the value of GENESYS_API_URL or GENESYS_TOKEN_URL as New
// does: https, or http on loopback, with a host and without credentials, query
// or fragment. The error begins with the setting and does not quote the value.
func ValidateURL(setting, value string) error {
	_, err := baseURL(setting, value)
	return err
}

// ValidatePath checks the value of GENESYS_EVENTBRIDGE_PATH as New does.
func ValidatePath(value string) error {
	_, err := detailsPath(value)
	return err
}

// baseURL checks an address. The texts do not quote it: it may hold a password.
func baseURL(setting, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, fmt.Errorf("%s: not a URL with a host; write it like %s", setting, DefaultAPIURL)
	case u.User != nil:
		return nil, fmt.Errorf("%s: holds a user name or password; remove it, credentials are GENESYS_CLIENT_ID and GENESYS_CLIENT_SECRET", setting)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("%s: holds a query or a fragment; remove it", setting)
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return nil, fmt.Errorf("%s: neither https nor http on loopback; use https", setting)
	}
	return u, nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && addr.IsLoopback())
}

func detailsPath(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(raw, "/") || u.Fragment != "" {
		return nil, fmt.Errorf("%s: not a path; begin it with one slash, like %s", eventBridgePathSetting, DefaultEventBridgePath)
	}
	return u, nil
}

// deriveTokenURL follows Genesys Cloud's naming: api.{domain} serves the API
// and login.{domain} issues tokens. Any other host, a stand-in or a proxy, is
// taken to do both.
func deriveTokenURL(api *url.URL) *url.URL {
	host := api.Hostname()
	if domain, ok := strings.CutPrefix(strings.ToLower(host), "api."); ok {
		host = "login." + domain
	}
	switch {
	case api.Port() != "":
		host = net.JoinHostPort(host, api.Port())
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	return &url.URL{Scheme: api.Scheme, Host: host, Path: tokenPath}
}
