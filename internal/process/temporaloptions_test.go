package process

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseTemporal_HasDefaults(t *testing.T) {
	problems := &Problems{}
	temporal := ParseTemporal(Env{"TEMPORAL_NAMESPACE": ""}, problems)
	require.NoError(t, problems.Err())
	assert.Equal(t, "localhost:7233", temporal.Options.HostPort)
	assert.Equal(t, "default", temporal.Options.Namespace)
	assert.Nil(t, temporal.Options.ConnectionOptions.TLS)
}

func TestParseTemporal_AnAPIKeyFromAFileSwitchesTLSOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte("hunter2\n"), 0o600))
	problems := &Problems{}
	temporal := ParseTemporal(Env{"TEMPORAL_API_KEY_FILE": path, "TEMPORAL_ADDRESS": "dns:///cloud:7233"}, problems)
	require.NoError(t, problems.Err())
	assert.NotNil(t, temporal.Options.Credentials)
	assert.NotNil(t, temporal.Options.ConnectionOptions.TLS)
	assert.Contains(t, temporal.Settings(), Setting{"TEMPORAL_API_KEY", "(set)"})
	assert.Contains(t, temporal.Settings(), Setting{"TEMPORAL_TLS", "true"})
	assert.NotContains(t, fmt.Sprintf("%+v", temporal.Settings()), "hunter2")
}

func TestParseTemporal_NamesEveryWrongSetting(t *testing.T) {
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	for name, test := range map[string]struct {
		env  Env
		want []string
	}{
		"missing config file": {Env{"TEMPORAL_CONFIG_FILE": "/nonexistent"}, []string{"TEMPORAL_CONFIG_FILE: cannot read /nonexistent: "}},
		"broken config file":  {Env{"TEMPORAL_CONFIG_FILE": file("[[[")}, []string{"TEMPORAL_CONFIG_FILE: "}},
		"missing profile":     {Env{"TEMPORAL_CONFIG_FILE": file("[profile.a]\naddress=\"h:1\""), "TEMPORAL_PROFILE": "b"}, []string{"TEMPORAL_PROFILE: "}},
		"address of a profile": {
			Env{"TEMPORAL_CONFIG_FILE": file("[profile.a]\naddress=\"h\""), "TEMPORAL_PROFILE": "a"},
			[]string{`TEMPORAL_ADDRESS: "h" is not valid; it must be host:port`},
		},
		"files, all of them": {
			Env{"TEMPORAL_TLS_CLIENT_CERT_PATH": "/no/cert", "TEMPORAL_TLS_CLIENT_KEY_PATH": "/no/key", "TEMPORAL_TLS_SERVER_CA_CERT_PATH": "/no/ca"},
			[]string{
				"TEMPORAL_TLS_CLIENT_CERT_PATH: cannot read /no/cert: ", "TEMPORAL_TLS_CLIENT_KEY_PATH: cannot read /no/key: ",
				"TEMPORAL_TLS_SERVER_CA_CERT_PATH: cannot read /no/ca: ",
			},
		},
		"no certificate":         {Env{"TEMPORAL_TLS_SERVER_CA_CERT_PATH": file("junk")}, []string{"TEMPORAL_TLS_*: "}},
		"cert without its key":   {Env{"TEMPORAL_TLS_CLIENT_CERT_PATH": file("junk")}, []string{"TEMPORAL_TLS_*: "}},
		"neither true nor false": {Env{"TEMPORAL_TLS": "yes"}, []string{`TEMPORAL_TLS: "yes" is not valid; it must be one of true, false, 1, 0`}},
		"key in two lines":       {Env{"TEMPORAL_API_KEY": "hunter2\nhunter3"}, []string{"TEMPORAL_API_KEY: contains a line break"}},
		"key given twice":        {Env{"TEMPORAL_API_KEY": "hunter2", "TEMPORAL_API_KEY_FILE": "/x"}, []string{"TEMPORAL_API_KEY: is set, and so is"}},
		"several at once":        {Env{"TEMPORAL_TLS": "yes", "TEMPORAL_ADDRESS": "h"}, []string{"TEMPORAL_TLS: ", "TEMPORAL_ADDRESS: "}},
	} {
		t.Run(name, func(t *testing.T) {
			problems := &Problems{}
			ParseTemporal(test.env, problems)
			got := lines(problems)
			require.Len(t, got, len(test.want), got)
			for i, want := range test.want {
				assert.Contains(t, got[i], want)
				assert.Contains(t, got[i], "; ")
				assert.NotContains(t, got[i], "hunter")
			}
		})
	}
}
