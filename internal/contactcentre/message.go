package contactcentre

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"genesys-fanout/event/shapes"
)

// The ids that all shapes share.
const (
	shapeConversation = "d81f7c1a-52be-4a0e-8f0d-6b1f0f6a9b01"
	shapeQueue        = "11aa22bb-33cc-4d4d-8e5e-6f6f7a7a8b8b"
	shapeAgent        = "aa11bb22-cc33-4d44-9e55-ff6677889900"
)

const (
	isoSeconds = "2006-01-02T15:04:05Z"
	isoMillis  = "2006-01-02T15:04:05.000Z"
)

// event makes one event of the given kind, which is the last part of its topic. conv is
// nil if the event belongs to no conversation. One message in ten is a flat event, one
// in ten is an envelope wrapped by a queue, and the others are envelopes.
func (c *Centre) event(conv *conversation, kind string, at time.Time) Event {
	e := Event{ID: c.uuid(), At: at}
	if conv != nil {
		e.ConversationID = conv.id
	}
	switch form := c.random.IntN(10); {
	case form == 0 && conv != nil:
		e.Message = encode(map[string]any{
			"event_id": e.ID, "event_type": "conversation." + kind, "timestamp": at.Format(isoSeconds), "queue": conv.ids[shapeQueue],
			"interaction": map[string]any{"id": conv.id, "channel_type": strings.ToLower(conv.media), "status": kind},
		})
	case form == 1:
		wrapped := loadShape("wrapped.sqs.json")
		wrapped["messageId"], wrapped["body"] = c.uuid(), string(c.envelope(conv, kind, e))
		e.Message = encode(wrapped)
	default:
		e.Message = c.envelope(conv, kind, e)
	}
	return e
}

// envelope makes the message of an event in Genesys' envelope format, from the shape of
// its topic.
func (c *Centre) envelope(conv *conversation, kind string, e Event) []byte {
	envelope := loadShape(shapeFile(conv, kind))
	f := filler{centre: c, conv: conv, at: e.At, ids: map[string]string{}}
	if conv != nil {
		f.ids = conv.ids
	}
	source := envelope["source"]
	filled, _ := f.fill("", envelope).(map[string]any)
	filled["id"], filled["source"] = e.ID, source // the organisation is always the same
	detail, _ := filled["detail"].(map[string]any)
	detail["metadata"] = map[string]any{"CorrelationId": c.uuid()}
	body, _ := detail["eventBody"].(map[string]any)
	switch kind {
	case "attributes":
		body["attributes"] = c.attributes()
	case "transcription":
		utterances, _ := body["transcripts"].([]any)
		body["transcripts"] = c.transcripts(utterances[0])
	}
	return encode(filled)
}

// shapeFile returns the name of a topic's shape: the shape for the conversation's
// channel if there is one, else the topic's general shape.
func shapeFile(conv *conversation, kind string) string {
	if conv != nil {
		file := "envelope." + kind + "." + strings.ToLower(conv.media) + ".json"
		if _, err := fs.Stat(shapes.Files, file); err == nil {
			return file
		}
	}
	return "envelope." + kind + ".json"
}

// loadShape parses a file of package shapes. It panics if the file is missing, which a
// test of all scenarios excludes.
func loadShape(file string) map[string]any {
	data, err := shapes.Files.ReadFile(file)
	if err != nil {
		panic(fmt.Sprintf("contactcentre: a scenario names a topic that has no shape: %v", err))
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value map[string]any
	if err := decoder.Decode(&value); err != nil {
		panic(fmt.Sprintf("contactcentre: %s: %v", file, err))
	}
	return value
}

var anyUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// filler replaces the ids, times and channel of a shape by those of one event.
type filler struct {
	centre *Centre
	conv   *conversation // nil if the event belongs to none
	at     time.Time
	ids    map[string]string // from an id in the shape to its replacement
}

// fill returns a JSON value with its contents replaced. name is the value's member name
// in its object. Members and JSON types stay as they are.
func (f filler) fill(name string, value any) any {
	switch v := value.(type) {
	case map[string]any:
		for _, member := range slices.Sorted(maps.Keys(v)) { // sorted, because the order decides which new id each member gets
			v[member] = f.fill(member, v[member])
		}
	case []any:
		for i := range v {
			v[i] = f.fill("", v[i])
		}
	case json.Number:
		if name == "eventTime" {
			return f.at.UnixMilli()
		}
	case string:
		return f.text(name, v)
	}
	return value
}

func (f filler) text(name, text string) string {
	switch {
	case name == "time":
		return f.at.Format(isoSeconds)
	case name == "timestamp", name == "eventTime":
		return f.at.Format(isoMillis)
	case name == "mediaType" && f.conv != nil:
		return f.conv.media
	case name == "direction" && f.conv != nil:
		return f.conv.direction
	}
	return anyUUID.ReplaceAllStringFunc(text, func(id string) string {
		if f.ids[id] == "" {
			f.ids[id] = f.centre.uuid()
		}
		return f.ids[id]
	})
}

// The mean and the largest number of attributes that a flow sets, and of utterances in a
// transcription. Most events have about 1 KB; one with many of these has some tens of KB.
const (
	meanAttributes, maxAttributes = 20, 200
	meanUtterances, maxUtterances = 8, 120
)

func (c *Centre) attributes() map[string]any {
	attributes := map[string]any{}
	for i := range c.randomCount(meanAttributes, maxAttributes) {
		attributes[fmt.Sprintf("flow.step.%03d", i)] = c.sentence(3)
	}
	return attributes
}

// transcripts returns several utterances with the members of the given one.
func (c *Centre) transcripts(template any) []any {
	var transcripts []any
	for range c.randomCount(meanUtterances, maxUtterances) {
		sentence := c.sentence(4 + c.random.IntN(8))
		var spokenWords []any
		for word := range strings.FieldsSeq(sentence) {
			spokenWords = append(spokenWords, map[string]any{"confidence": 0.93, "offsetMs": 200 * len(spokenWords), "durationMs": 180, "word": word})
		}
		utterance, _ := template.(map[string]any)
		utterance = maps.Clone(utterance)
		utterance["utteranceId"] = c.uuid()
		utterance["alternatives"] = []any{map[string]any{
			"confidence": 0.91, "offsetMs": 0, "durationMs": 200 * len(spokenWords),
			"transcript": sentence, "words": spokenWords, "decoratedTranscript": sentence, "decoratedWords": spokenWords,
		}}
		transcripts = append(transcripts, utterance)
	}
	return transcripts
}

// randomCount returns a number from 1 to most with an exponential distribution.
func (c *Centre) randomCount(mean, most int) int {
	return min(1+int(c.random.ExpFloat64()*float64(mean)), most)
}

// vocabulary has letters beyond ASCII and characters that JSON or HTML escapes.
var vocabulary = strings.Fields("guten Tag & willkommen, die Bestellung A-1009 ist <unterwegs> – danke für Ihre Geduld; please hold the line, je vérifie, 少々お待ちください")

func (c *Centre) sentence(length int) string {
	words := make([]string, length)
	for i := range words {
		words[i] = vocabulary[c.random.IntN(len(vocabulary))]
	}
	return strings.Join(words, " ")
}

// encode returns JSON without HTML escaping, as most producers write it.
func encode(value any) []byte {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(fmt.Sprintf("contactcentre: %v", err)) // impossible for maps, strings and numbers
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))
}
