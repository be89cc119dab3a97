package process

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestValidators_SayWhatIsWrongAndWhatAValidValueIs checks the whole message about each value that is not valid.
func TestValidators_SayWhatIsWrongAndWhatAValidValueIs(t *testing.T) {
	const (
		address = "; it must be host:port with a port from 0 to 65535"
		number  = "; it must be a whole number from 1 to 10"
		webURL  = "V: is not an absolute http or https URL; write http://host:port or https://host"
	)
	required := func(value string) func(*Problems) { return func(p *Problems) { p.Required("V", value, "set it") } }
	oneOf := func(value string) func(*Problems) { return func(p *Problems) { p.OneOf("V", value, "a", "b") } }
	positive := func(value string) func(*Problems) { return func(p *Problems) { p.PositiveInt("V", value, 10) } }
	hostPort := func(value string) func(*Problems) { return func(p *Problems) { p.HostPort("V", value, false) } }
	listen := func(value string) func(*Problems) { return func(p *Problems) { p.HostPort("V", value, true) } }
	hostPorts := func(value string) func(*Problems) { return func(p *Problems) { p.HostPorts("V", value) } }
	web := func(value string) func(*Problems) { return func(p *Problems) { p.WebURL("V", value) } }
	for name, test := range map[string]struct {
		check func(*Problems)
		want  string // empty: the value is valid
	}{
		"required, set":   {required("x"), ""},
		"required, empty": {required(""), "V: is not set; set it"},

		"one of the values":  {oneOf("a"), ""},
		"in the wrong case":  {oneOf("A"), `V: "A" is not valid; it must be one of a, b`},
		"none of the values": {oneOf("c"), `V: "c" is not valid; it must be one of a, b`},

		"the largest number": {positive("10"), ""},
		"too large":          {positive("11"), `V: "11" is not valid` + number},
		"zero":               {positive("0"), `V: "0" is not valid` + number},
		"negative":           {positive("-1"), `V: "-1" is not valid` + number},
		"not a whole number": {positive("1e3"), `V: "1e3" is not valid` + number},

		"host and port":        {hostPort("h:1"), ""},
		"IPv6":                 {hostPort("[::1]:65535"), ""},
		"no host":              {hostPort(":1"), `V: ":1" is not valid` + address},
		"every interface":      {listen(":1"), ""},
		"port too high":        {hostPort("h:65536"), `V: "h:65536" is not valid` + address},
		"port by name":         {hostPort("h:http"), `V: "h:http" is not valid` + address},
		"a URL":                {hostPort("http://h:1"), `V: "http://h:1" is not valid` + address},
		"brokers":              {hostPorts("a:1, b:2"), ""},
		"a trailing comma":     {hostPorts("a:1,"), `V: "a:1," has an empty item; separate the items with single commas`},
		"one without its port": {hostPorts("a:1,b"), `V: "b" is not valid` + address},

		"http":                   {web("http://127.0.0.1:8080"), ""},
		"https":                  {web("https://cloud.temporal.io/x"), ""},
		"no URL":                 {web(""), webURL},
		"no scheme":              {web("127.0.0.1:8080"), webURL},
		"another scheme":         {web("ftp://h"), webURL},
		"a URL without a host":   {web("http://"), webURL},
		"a URL with a bad port":  {web("https://u:hunter2@h:x"), webURL}, // the password is not quoted
		"an argument of a tool":  {func(p *Problems) { p.Argument("--since", "1w", "write 7d") }, `--since: "1w" cannot be read; write 7d`},
		"an error that is nil":   {func(p *Problems) { p.AddError(nil) }, ""},
		"a list with odd blanks": {func(p *Problems) { assert.Equal(t, []string{"a", "b"}, p.List("V", " a ,b")) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			problems := &Problems{}
			test.check(problems)
			if test.want == "" {
				require.NoError(t, problems.Err())
				return
			}
			require.EqualError(t, problems.Err(), test.want)
		})
	}
	assert.NotNil(t, (&Problems{}).WebURL("V", "not a URL"), "the caller need not check for nil")
}
