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

// The ids that the shapes have in common, and whom they stand for.
const (
	shapeConversation = "d81f7c1a-52be-4a0e-8f0d-6b1f0f6a9b01"
	shapeQueue        = "11aa22bb-33cc-4d4d-8e5e-6f6f7a7a8b8b"
	shapeAgent        = "aa11bb22-cc33-4d44-9e55-ff6677889900"
)

const (
	isoSeconds = "2006-01-02T15:04:05Z"
	isoMillis  = "2006-01-02T15:04:05.000Z"
)

// event makes the message of one event: mostly an envelope, one in ten times a
// flat event, and one in ten an envelope that came through a queue.
func (c *Centre) event(talk *conversation, kind string, at time.Time) Event {
	e := Event{ID: c.uuid(), At: at}
	if talk != nil {
		e.ConversationID = talk.id
	}
	switch form := c.random.IntN(10); {
	case form == 0 && talk != nil:
		e.Message = encode(map[string]any{
			"event_id": e.ID, "event_type": "conversation." + kind, "timestamp": at.Format(isoSeconds), "queue": talk.ids[shapeQueue],
			"interaction": map[string]any{"id": talk.id, "channel_type": strings.ToLower(talk.media), "status": kind},
		})
	case form == 1:
		wrapped := shape("wrapped.sqs.json")
		wrapped["messageId"], wrapped["body"] = c.uuid(), string(c.envelope(talk, kind, e))
		e.Message = encode(wrapped)
	default:
		e.Message = c.envelope(talk, kind, e)
	}
	return e
}

// envelope fills the shape of a topic.
func (c *Centre) envelope(talk *conversation, kind string, e Event) []byte {
	envelope := shape(shapeOf(talk, kind))
	f := filling{centre: c, talk: talk, at: e.At, ids: map[string]string{}}
	if talk != nil {
		f.ids = talk.ids
	}
	source := envelope["source"]
	filled, _ := f.fill("", envelope).(map[string]any)
	filled["id"], filled["source"] = e.ID, source // the organisation stays
	detail, _ := filled["detail"].(map[string]any)
	detail["metadata"] = map[string]any{"CorrelationId": c.uuid()}
	body, _ := detail["eventBody"].(map[string]any)
	switch kind {
	case "attributes":
		body["attributes"] = c.attributes()
	case "transcription":
		said, _ := body["transcripts"].([]any)
		body["transcripts"] = c.transcripts(said[0])
	}
	return encode(filled)
}

// shapeOf is the file of a topic, that of the conversation's channel where it has
// one of its own.
func shapeOf(talk *conversation, kind string) string {
	if talk != nil {
		file := "envelope." + kind + "." + strings.ToLower(talk.media) + ".json"
		if _, err := fs.Stat(shapes.Files, file); err == nil {
			return file
		}
	}
	return "envelope." + kind + ".json"
}

// shape is a fresh copy of a file of package shapes.
func shape(file string) map[string]any {
	data, err := shapes.Files.ReadFile(file)
	if err != nil {
		panic(fmt.Sprintf("contactcentre: a course names a topic without a shape: %v", err)) // a test runs through all
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

// filling makes of a shape what one event of one conversation says.
type filling struct {
	centre *Centre
	talk   *conversation // nil: of none
	at     time.Time
	ids    map[string]string // of the shape, and what stands for them
}

// fill fills a value under the name that it has in its object. Members and types
// stay as they are.
func (f filling) fill(name string, value any) any {
	switch v := value.(type) {
	case map[string]any:
		for _, member := range slices.Sorted(maps.Keys(v)) { // in an order, since ids are made on the way
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

func (f filling) text(name, text string) string {
	switch {
	case name == "time":
		return f.at.Format(isoSeconds)
	case name == "timestamp", name == "eventTime":
		return f.at.Format(isoMillis)
	case name == "mediaType" && f.talk != nil:
		return f.talk.media
	case name == "direction" && f.talk != nil:
		return f.talk.direction
	}
	return anyUUID.ReplaceAllStringFunc(text, func(id string) string {
		if f.ids[id] == "" {
			f.ids[id] = f.centre.uuid()
		}
		return f.ids[id]
	})
}

// The sizes of what varies. Most events are about 1 KB; attributes grow with
// what a flow sets, and a transcription with what is said: some tens of KB.
const (
	meanAttributes, mostAttributes = 20, 200
	meanUtterances, mostUtterances = 8, 120
)

func (c *Centre) attributes() map[string]any {
	attributes := map[string]any{}
	for i := range c.several(meanAttributes, mostAttributes) {
		attributes[fmt.Sprintf("flow.step.%03d", i)] = c.sentence(3)
	}
	return attributes
}

// transcripts are utterances like the one of the shape.
func (c *Centre) transcripts(like any) []any {
	var transcripts []any
	for range c.several(meanUtterances, mostUtterances) {
		said := c.sentence(4 + c.random.IntN(8))
		var spoken []any
		for _, word := range strings.Fields(said) {
			spoken = append(spoken, map[string]any{"confidence": 0.93, "offsetMs": 200 * len(spoken), "durationMs": 180, "word": word})
		}
		utterance, _ := like.(map[string]any)
		utterance = maps.Clone(utterance)
		utterance["utteranceId"] = c.uuid()
		utterance["alternatives"] = []any{map[string]any{
			"confidence": 0.91, "offsetMs": 0, "durationMs": 200 * len(spoken),
			"transcript": said, "words": spoken, "decoratedTranscript": said, "decoratedWords": spoken,
		}}
		transcripts = append(transcripts, utterance)
	}
	return transcripts
}

// several is at least 1, with an exponential tail.
func (c *Centre) several(mean, most int) int {
	return min(1+int(c.random.ExpFloat64()*float64(mean)), most)
}

var words = strings.Fields("guten Tag & willkommen, die Bestellung A-1009 ist <unterwegs> – danke für Ihre Geduld; please hold the line, je vérifie, 少々お待ちください")

func (c *Centre) sentence(length int) string {
	said := make([]string, length)
	for i := range said {
		said[i] = words[c.random.IntN(len(words))]
	}
	return strings.Join(said, " ")
}

// encode writes JSON as most producers do: without escaping for HTML.
func encode(value any) []byte {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(fmt.Sprintf("contactcentre: %v", err)) // maps, texts and numbers alone
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))
}
