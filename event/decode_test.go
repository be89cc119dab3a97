package event

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const conversation = "d81f7c1a-52be-4a0e-8f0d-6b1f0f6a9b01"

func TestDecode_ReadsRealMessages(t *testing.T) {
	const topic = "v2.detail.events.conversation.{id}."
	second := time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)
	millisecond := second.Add(589 * time.Millisecond) // only the body of a notification has milliseconds
	files, err := filepath.Glob("shapes/*.json")
	require.NoError(t, err)
	shapes := map[string]Event{
		"flat.json":                             {Format: Flat, ID: "evt-7f3a0001", Type: "conversation.started", InteractionID: conversation, ChannelType: "voice", Status: "active"},
		"envelope.customer.start.json":          {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000000", Type: topic + "customer.start", InteractionID: conversation, ChannelType: "voice", Status: "started"},
		"envelope.customer.end.json":            {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000001", Type: topic + "customer.end", InteractionID: conversation, ChannelType: "voice", Status: "ended"},
		"envelope.user.start.json":              {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000002", Type: topic + "user.start", InteractionID: conversation, ChannelType: "voice", Status: "user.start"},
		"envelope.user.end.json":                {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000003", Type: topic + "user.end", InteractionID: conversation, ChannelType: "voice", Status: "user.end"},
		"envelope.acd.start.json":               {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000004", Type: topic + "acd.start", InteractionID: conversation, ChannelType: "voice", Status: "acd.start"},
		"envelope.acd.end.json":                 {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000005", Type: topic + "acd.end", InteractionID: conversation, ChannelType: "voice", Status: "acd.end"},
		"envelope.acw.json":                     {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000006", Type: topic + "acw", InteractionID: conversation, ChannelType: "voice", Status: "acw"},
		"envelope.wrapup.json":                  {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000007", Type: topic + "wrapup", InteractionID: conversation, ChannelType: "voice", Status: "wrapup"},
		"envelope.contact.json":                 {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000008", Type: topic + "contact", InteractionID: conversation, ChannelType: "voice", Status: "contact"},
		"envelope.flow.start.json":              {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000009", Type: topic + "flow.start", InteractionID: conversation, ChannelType: "voice", Status: "flow.start"},
		"envelope.flow.end.json":                {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000010", Type: topic + "flow.end", InteractionID: conversation, ChannelType: "voice", Status: "flow.end"},
		"envelope.flow.outcome.json":            {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000011", Type: topic + "flow.outcome", InteractionID: conversation, ChannelType: "voice", Status: "flow.outcome"},
		"envelope.outbound.json":                {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000012", Type: topic + "outbound", InteractionID: conversation, ChannelType: "voice", Status: "outbound"},
		"envelope.voicemail.start.json":         {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000013", Type: topic + "voicemail.start", InteractionID: conversation, ChannelType: "voice", Status: "voicemail.start"},
		"envelope.voicemail.end.json":           {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000014", Type: topic + "voicemail.end", InteractionID: conversation, ChannelType: "voice", Status: "voicemail.end"},
		"envelope.attributes.json":              {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000020", Type: topic + "attributes", InteractionID: conversation, ChannelType: "message", Status: "attributes"},
		"envelope.customer.start.message.json":  {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000030", Type: topic + "customer.start", InteractionID: conversation, ChannelType: "message", Status: "started"},
		"envelope.customer.start.email.json":    {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000031", Type: topic + "customer.start", InteractionID: conversation, ChannelType: "email", Status: "started"},
		"envelope.customer.start.callback.json": {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000032", Type: topic + "customer.start", InteractionID: conversation, ChannelType: "callback", Status: "started"},
		"envelope.customer.start.chat.json":     {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000033", Type: topic + "customer.start", InteractionID: conversation, ChannelType: "chat", Status: "started"},
		"envelope.transcription.json":           {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000021", Type: "v2.conversations.{id}.transcription", InteractionID: conversation},
		"envelope.audit.json":                   {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000022", Type: "v2.audits.entitytype.{id}.entityid.{id}"},
		"envelope.user.json":                    {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000023", Type: "v2.users.{id}.presence"},
		"envelope.user.routing-status.json":     {Format: Envelope, ID: "9c1f2e3d-0000-4000-8000-000000000024", Type: "v2.users.{id}.routingStatus"},
		"envelope.no-id.json":                   {Format: Envelope, Type: topic + "customer.start", InteractionID: conversation, ChannelType: "voice", Status: "started"},
		"envelope.kafka-target.json":            {Format: Envelope, Type: topic + "customer.start", InteractionID: conversation, ChannelType: "voice", Status: "started"},
		"wrapped.sqs.json":                      {Format: Wrapped, ID: "9c1f2e3d-0000-4000-8000-000000000000", Type: topic + "customer.start", InteractionID: conversation, ChannelType: "voice", Status: "started"},
		"wrapped.sns.json":                      {Format: Wrapped, ID: "evt-7f3a0001", Type: "conversation.started", InteractionID: conversation, ChannelType: "voice", Status: "active"},
		"wrapped.sns.envelope.json":             {Format: Wrapped, ID: "9c1f2e3d-0000-4000-8000-000000000000", Type: topic + "customer.start", InteractionID: conversation, ChannelType: "voice", Status: "started"},
		"notification.customer.start.json":      {Format: Notification, Type: topic + "customer.start", InteractionID: conversation, ChannelType: "voice", Status: "started", PublishedAt: millisecond},
		"notification.transcription.json":       {Format: Notification, Type: "v2.conversations.{id}.transcription", InteractionID: conversation, PublishedAt: millisecond},
		"wrapped.connect.json":                  {Format: Wrapped, ID: "9c1f2e3d-0000-4000-8000-000000000000", Type: topic + "customer.start", InteractionID: conversation, ChannelType: "voice", Status: "started"},
		"wrapped.string.json":                   {Format: Wrapped, ID: "9c1f2e3d-0000-4000-8000-000000000000", Type: topic + "customer.start", InteractionID: conversation, ChannelType: "voice", Status: "started"},
	}
	assert.Len(t, files, len(shapes), "every file of shapes has its row")
	for file, want := range shapes {
		t.Run(file, func(t *testing.T) {
			message, err := os.ReadFile(filepath.Join("shapes", file))
			require.NoError(t, err)
			got, err := Decode(message)
			require.NoError(t, err)
			assert.True(t, json.Valid(got.Document))
			if want.PublishedAt.IsZero() {
				want.PublishedAt = second
			}
			assertReads(t, want, got)
		})
	}
}

// assertReads asserts that the decoded event is the wanted one. If want has no id, the
// decoded event must have its ContentID.
func assertReads(t *testing.T, want, got Event) {
	t.Helper()
	if want.ID == "" {
		want.ID, want.byContent = got.ContentID(), true
	}
	got.Document, got.content = nil, nil
	assert.Equal(t, want, got)
}

// TestDecode_KnowsNoStatusWithoutAShape checks that shapes has a message for each known status.
func TestDecode_KnowsNoStatusWithoutAShape(t *testing.T) {
	for _, s := range statuses {
		assert.FileExists(t, filepath.Join("shapes", "envelope."+s.suffix+".json"))
	}
}

func TestDecode_ReadsEveryShape(t *testing.T) {
	files, err := filepath.Glob("shapes/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		message, err := os.ReadFile(file)
		require.NoError(t, err)
		got, err := Decode(message)
		require.NoError(t, err, file)
		assert.True(t, strings.HasPrefix(filepath.Base(file), string(got.Format)+"."), "%s was read as %s", file, got.Format)
		assert.NotEmpty(t, got.ID, file)
	}
}

func TestDecode_ReadsOddMessages(t *testing.T) {
	for name, test := range map[string]struct {
		message string
		want    Event
	}{
		"other names by case":       {`{"EVENT_ID":"a","Event_Type":"b"}`, Event{Format: Other, Type: "unknown"}},
		"an id of the wrong type":   {`{"event_id":7,"event_type":"b"}`, Event{Format: Other, Type: "b"}},
		"an id that is not text":    {"{\"event_id\":\"a\xff\"}", Event{Format: Flat, Type: "unknown"}},
		"an empty id":               {`{"event_id":"","event_type":"b"}`, Event{Format: Other, Type: "b"}},
		"flat before envelope":      {`{"event_id":"a","detail-type":"x","detail":{}}`, Event{Format: Flat, ID: "a", Type: "unknown"}},
		"interaction of wrong type": {`{"event_id":"a","interaction":"i"}`, Event{Format: Flat, ID: "a", Type: "unknown"}},
		"a type of the wrong type":  {`{"event_id":"a","event_type":["x"]}`, Event{Format: Flat, ID: "a", Type: "unknown"}},
		"channel beside":            {`{"event_id":"a","channel_type":"chat","status":"s"}`, Event{Format: Flat, ID: "a", Type: "unknown", ChannelType: "chat", Status: "s"}},
		"detail of the wrong type":  {`{"id":"a","detail-type":"x","detail":"y"}`, Event{Format: Other, Type: "unknown"}},
		"envelope without an id":    {`{"detail-type":"x","detail":{}}`, Event{Format: Envelope, Type: "x"}},
		"wrapped twice":             {`{"body":"{\"body\":\"{\\\"event_id\\\":\\\"a\\\"}\"}"}`, Event{Format: Other, Type: "unknown"}},
		"wrapped nothing known":     {`{"body":"{\"x\":1}"}`, Event{Format: Other, Type: "unknown"}},
		"wrapped no JSON":           {`{"body":"hello"}`, Event{Format: Other, Type: "unknown"}},
		"body and Message":          {`{"body":"{\"event_id\":\"a\"}","Message":"{\"event_id\":\"b\"}"}`, Event{Format: Wrapped, ID: "a", Type: "unknown"}},
		"body is not an event":      {`{"body":"{\"x\":1}","Message":"{\"event_id\":\"b\"}"}`, Event{Format: Wrapped, ID: "b", Type: "unknown"}},
		"body is not JSON":          {`{"body":"hello","Message":"{\"event_id\":\"b\"}"}`, Event{Format: Wrapped, ID: "b", Type: "unknown"}},
		"body is not a string":      {`{"body":{"event_id":"a"},"Message":"{\"event_id\":\"b\"}"}`, Event{Format: Wrapped, ID: "b", Type: "unknown"}},
		"body wrapped twice":        {`{"body":"{\"Message\":\"{}\"}","Message":"{\"id\":\"b\",\"detail-type\":\"x\",\"detail\":{}}"}`, Event{Format: Wrapped, ID: "b", Type: "x"}},
		"neither is an event":       {`{"body":"hello","Message":"[1]"}`, Event{Format: Other, Type: "unknown"}},
		"wrapped without an id":     {`{"body":"{\"detail-type\":\"x\",\"detail\":{}}","messageId":"1"}`, Event{Format: Wrapped, Type: "x"}},
		"notification":              {`{"topicName":"v2.users.5de6d128-08fb-4a49-b34a-4029d15f0aa1.presence","eventBody":{}}`, Event{Format: Notification, Type: "v2.users.{id}.presence"}},
		"notification of two ids":   {`{"topicName":"v2.a.5DE6D128-08fb-4a49-b34a-4029d15f0aa1.5de6d128-08fb-4a49-b34a-4029d15f0aa1","eventBody":{}}`, Event{Format: Notification, Type: "v2.a.{id}.{id}"}},
		"notification without a UUID": {
			`{"topicName":"v2.detail.events.conversation.7.customer.end","eventBody":{"conversationId":"7","mediaType":"CHAT"}}`,
			Event{Format: Notification, Type: "v2.detail.events.conversation.7.customer.end", InteractionID: "7", ChannelType: "chat", Status: "ended"},
		},
		"notification's own ids":       {`{"topicName":"x","eventBody":{"id":"b"},"id":"a"}`, Event{Format: Notification, Type: "x"}},
		"eventBody of wrong type":      {`{"topicName":"x","eventBody":[]}`, Event{Format: Other, Type: "unknown"}},
		"topicName of wrong type":      {`{"topicName":7,"eventBody":{}}`, Event{Format: Other, Type: "unknown"}},
		"envelope with a topicName":    {`{"topicName":"x","eventBody":{},"detail-type":"y","detail":{}}`, Event{Format: Envelope, Type: "y"}},
		"flat with a topicName":        {`{"topicName":"x","eventBody":{},"event_id":"a"}`, Event{Format: Flat, ID: "a", Type: "unknown"}},
		"a notification in a body":     {`{"body":"{\"topicName\":\"x\",\"eventBody\":{}}"}`, Event{Format: Wrapped, Type: "x"}},
		"payload beside a schema":      {`{"schema":{"type":"struct"},"payload":{"event_id":"a","event_type":"b"}}`, Event{Format: Wrapped, ID: "a", Type: "b"}},
		"payload beside no schema":     {`{"schema":null,"payload":{"topicName":"x","eventBody":{}}}`, Event{Format: Wrapped, Type: "x"}},
		"payload that is a string":     {`{"schema":{"type":"string"},"payload":"{\"event_id\":\"a\"}"}`, Event{Format: Wrapped, ID: "a", Type: "unknown"}},
		"payload without a schema":     {`{"payload":{"event_id":"a"}}`, Event{Format: Other, Type: "unknown"}},
		"payload that is not an event": {`{"schema":{},"payload":{"x":1}}`, Event{Format: Other, Type: "unknown"}},
		"payload of wrong type":        {`{"schema":{},"payload":[{"event_id":"a"}]}`, Event{Format: Other, Type: "unknown"}},
		"payload wrapped twice":        {`{"schema":{},"payload":{"body":"{\"event_id\":\"a\"}"}}`, Event{Format: Other, Type: "unknown"}},
		"flat with schema":             {`{"schema":{},"payload":{"event_id":"b"},"event_id":"a"}`, Event{Format: Flat, ID: "a", Type: "unknown"}},
		"byte order mark":              {"\uFEFF{\"event_id\":\"a\"}", Event{Format: Flat, ID: "a", Type: "unknown"}},
		"byte order mark and blanks":   {"\uFEFF \n{\"event_id\":\"a\"}\n", Event{Format: Flat, ID: "a", Type: "unknown"}},
		"byte order mark inside":       {`{"body":"\ufeff{\"event_id\":\"a\"}"}`, Event{Format: Wrapped, ID: "a", Type: "unknown"}},
		"array":                        {`[1,2]`, Event{Format: Other, Type: "unknown"}},
		"number":                       {` 12 `, Event{Format: Other, Type: "unknown"}},
		"null":                         {`null`, Event{Format: Other, Type: "unknown"}},
		"empty string":                 {`""`, Event{Format: Other, Type: "unknown"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Decode([]byte(test.message))
			require.NoError(t, err)
			assertReads(t, test.want, got)
		})
	}
}

func TestDecode_ReadsTheTimeOfAFlatEvent(t *testing.T) {
	second := time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)
	millisecond := second.Add(589 * time.Millisecond)
	for members, want := range map[string]time.Time{
		`"event_time":"2026-03-14T09:26:53Z"`:                                        second,
		`"event_time":"2026-03-14T09:26:53.589Z"`:                                    millisecond,
		`"event_time":"2026-03-14T10:26:53.589+01:00"`:                               millisecond,
		`"event_time":1773480413589`:                                                 millisecond,
		`"event_time":1773480413589.25`:                                              millisecond,
		`"event_time":1.773480413589e12`:                                             millisecond,
		`"event_time":253402300799999`:                                               time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
		`"event_time":"2026-03-14T09:26:53.589Z","timestamp":"2020-01-01T00:00:00Z"`: millisecond,
		`"event_time":"soon","timestamp":"2026-03-14T09:26:53Z"`:                     second,
		`"timestamp":"2026-03-14T09:26:53Z"`:                                         second,

		// None of these is a time.
		`"a":1`:                                {},
		`"event_time":null`:                    {},
		`"event_time":true`:                    {},
		`"event_time":""`:                      {},
		`"event_time":"soon"`:                  {},
		`"event_time":"2026-03-14"`:            {},
		`"event_time":"2026-03-14T09:26:53"`:   {}, // the zone is missing
		`"event_time":"1773480413589"`:         {},
		`"event_time":{"at":1773480413589}`:    {},
		`"event_time":[1773480413589]`:         {},
		`"event_time":0`:                       {},
		`"event_time":0.5`:                     {},
		`"event_time":-1773480413589`:          {},
		`"event_time":0.000001e-400`:           {},
		`"event_time":253402300800000`:         {},
		`"event_time":9007199254740993`:        {},
		`"event_time":1e300`:                   {},
		`"event_time":1e400`:                   {},
		`"event_time":"10000-01-01T00:00:00Z"`: {},
	} {
		e, err := Decode([]byte(`{"event_id":"a",` + members + `}`))
		require.NoError(t, err)
		assert.Equal(t, want, e.PublishedAt, members)
	}
}

// TestDecode_KeepsEveryEventStartable checks that every decoded event can be written as
// JSON, because the input of a run must be.
func TestDecode_KeepsEveryEventStartable(t *testing.T) {
	for _, at := range []string{"9999-12-31T23:59:59-23:00", "0000-01-01T00:00:00+23:00", "0000-06-01T00:00:00Z"} {
		got, err := Decode([]byte(`{"event_id":"a","timestamp":"` + at + `"}`))
		require.NoError(t, err)
		assert.True(t, got.PublishedAt.IsZero(), at)
		_, err = json.Marshal(got)
		require.NoError(t, err)
	}
}

func TestDecode_IdentifiesAnEventByItsBytes(t *testing.T) {
	id := func(message string) string {
		e, err := Decode([]byte(message))
		require.NoError(t, err)
		return e.ID
	}
	once, again := id(`{"a":1}`), id(`{"a":1}`)
	assert.Equal(t, once, again)
	assert.NotEqual(t, id(`{"a":1}`), id(`{"a": 1}`))
	assert.Equal(t, id(`{"body":"{\"detail-type\":\"x\",\"detail\":{}}","messageId":"1"}`),
		id(`{"body":"{\"detail-type\":\"x\",\"detail\":{}}","messageId":"2"}`), "a queue's own id is not the event's")
	for _, form := range []string{`{"event_id":"%s"}`, `{"body":"{\"event_id\":\"%s\"}"}`, `"{\"event_id\":\"%s\"}"`, `{"body":"{\"event_id\":\"\",\"detail-type\":\"%s\",\"detail\":{}}"}`} {
		of := func(part string) string { return id(fmt.Sprintf(form, part)) }
		once, again := of("a\xff"), of("a\xff")
		assert.Equal(t, once, again, form)
		assert.NotEqual(t, of("a\xff"), of("a\xfe"), "%s: bytes that are no text all read as U+FFFD", form)
		assert.NotEqual(t, of(`a\ud800`), of(`a\udfff`), "%s: and so do lone surrogates", form)
		assert.NotEqual(t, of("a\xff"), of("a\ufffd"), form)
	}
	assert.Equal(t, id(`{"a":1}`), id("\uFEFF"+`{"a":1}`), "a byte order mark does not matter")
	assert.Equal(t, id(`{"schema":{"version":1},"payload":{"topicName":"x","eventBody":{}}}`),
		id(`{"schema":{"version":2},"payload":{"topicName":"x","eventBody":{}}}`), "nor does Connect's schema")
}

func TestDecode_FailsOnlyIfTheMessageIsNotJSON(t *testing.T) {
	for _, message := range []string{"", " \n", "\uFEFF", "\uFEFF\uFEFF{}", "{", `{"a":1}x`, "hello", `{"a":NaN}`, "\x00", `{"event_id":"a",}`, "\u00a0{}", "{}\u0085"} {
		_, err := Decode([]byte(message))
		assert.ErrorIs(t, err, ErrUndecodable, "%q", message)
	}
	for message, want := range map[string]string{
		`{"a":x}`:           "byte 6:",
		" \r\n\t{\"a\":x}":  "byte 10:", // white space counts, because the byte is that of the message
		"{\"a\":1}\n\n x\n": "byte 11:",
		"\n{\"a\":1 \n":     "byte 9:", // the last byte, because the JSON ends too early
		"\uFEFF{\"a\":x}":   "byte 9:", // a byte order mark counts too
	} {
		_, err := Decode([]byte(message))
		assert.ErrorContains(t, err, want, "%q", message)
	}
}

func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob("shapes/*.json")
	for _, file := range files {
		message, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(message)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		got, err := Decode(message)
		if err != nil {
			require.ErrorIs(t, err, ErrUndecodable)
			return
		}
		require.NotEmpty(t, got.ID)
		require.NotEmpty(t, got.Type)
		again, err := Decode(message)
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

func BenchmarkDecode(b *testing.B) {
	message, err := os.ReadFile("shapes/envelope.customer.start.json")
	require.NoError(b, err)
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		if _, err := Decode(message); err != nil {
			b.Fatal(err)
		}
	}
}
