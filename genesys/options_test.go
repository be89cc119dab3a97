package genesys_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/genesys"
	"genesys-fanout/genesys/genesystest"
)

func TestNew_NamesEveryWrongSetting(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options genesys.Options
		names   []string
	}{
		{"nothing set", genesys.Options{}, []string{"GENESYS_CLIENT_ID", "GENESYS_CLIENT_SECRET"}},
		{"every setting wrong", genesys.Options{APIURL: "x", TokenURL: "y", EventBridgePath: "z"}, []string{"GENESYS_API_URL", "GENESYS_EVENTBRIDGE_PATH", "GENESYS_CLIENT_ID", "GENESYS_CLIENT_SECRET", "GENESYS_TOKEN_URL"}},
		{"http on another host than loopback", genesys.Options{APIURL: "http://api.example.com"}, []string{"GENESYS_API_URL"}},
		{"a host that begins like loopback", genesys.Options{APIURL: "http://localhost.example.com"}, []string{"GENESYS_API_URL"}},
		{"a token URL with http", genesys.Options{TokenURL: "http://login.example.com/oauth/token"}, []string{"GENESYS_TOKEN_URL"}},
		{"another scheme", genesys.Options{APIURL: "ftp://127.0.0.1"}, []string{"GENESYS_API_URL"}},
		{"no host", genesys.Options{APIURL: "https:///x"}, []string{"GENESYS_API_URL"}},
		{"not a URL", genesys.Options{APIURL: "https://h\x7f"}, []string{"GENESYS_API_URL"}},
		{"a password", genesys.Options{APIURL: "https://u:" + genesystest.SASLPassword + "@example.com"}, []string{"GENESYS_API_URL"}},
		{"a query", genesys.Options{APIURL: "https://example.com?k=" + genesystest.SASLPassword}, []string{"GENESYS_API_URL"}},
		{"a path that is a host", genesys.Options{EventBridgePath: "//evil.example.com/x"}, []string{"GENESYS_EVENTBRIDGE_PATH"}},
		{"a path that is a URL", genesys.Options{EventBridgePath: "https://evil.example.com/x"}, []string{"GENESYS_EVENTBRIDGE_PATH"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if len(tt.names) == 1 {
				tt.options.ClientID, tt.options.ClientSecret = genesystest.ClientID, genesystest.ClientSecret
			}
			_, err := genesys.New(tt.options)
			require.Error(t, err)
			var names []string
			for line := range strings.Lines(err.Error()) {
				name, rest, _ := strings.Cut(line, ": ")
				names = append(names, name)
				assert.Contains(t, rest, "; ", "the line names no cure")
			}
			assert.Equal(t, tt.names, names)
			genesystest.AssertNoSecret(t, err.Error())
		})
	}
}

// ingest checks its settings before it makes a Client, so both must apply the same rules.
func TestValidateURLAndPath_ApplyTheRulesOfNew(t *testing.T) {
	for value, valid := range map[string]bool{
		"https://api.mypurecloud.ie":                             true,
		"http://127.0.0.1:8081":                                  true,
		"http://[::ffff:127.0.0.1]:8081":                         true,
		"http://api.mypurecloud.ie":                              false,
		"https://u:" + genesystest.SASLPassword + "@example.com": false,
		"https://example.com?a=b":                                false,
		"":                                                       false,
	} {
		err := genesys.ValidateURL("GENESYS_TOKEN_URL", value)
		if valid {
			require.NoError(t, err, value)
			continue
		}
		require.ErrorContains(t, err, "GENESYS_TOKEN_URL: ", value)
		genesystest.AssertNoSecret(t, err.Error())
	}
	require.NoError(t, genesys.ValidatePath("/api/v2/eventbridge"))
	require.ErrorContains(t, genesys.ValidatePath("//evil.example.com"), "GENESYS_EVENTBRIDGE_PATH: ")
}
