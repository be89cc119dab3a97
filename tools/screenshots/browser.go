package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// mostBytes of a picture: they are cloned by everybody.
const mostBytes = 300_000

// openBrowser starts chromium with an empty profile that it forgets again.
func openBrowser(ctx context.Context) (context.Context, func(), error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"),
		// It must resolve and reach nothing but this machine.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("lang", "en-GB"),
		chromedp.Env("TZ=UTC"),
	)
	allocator, closeAllocator := chromedp.NewExecAllocator(ctx, options...)
	browser, closeBrowser := chromedp.NewContext(allocator)
	done := func() {
		closeBrowser()
		closeAllocator()
	}
	if err := chromedp.Do(browser, remember(settings())); err != nil {
		done()
		return nil, nil, fmt.Errorf("chromium did not start: %w", err)
	}
	return browser, done, nil
}

// settings are what Temporal UI keeps in the browser, by its own keys.
func settings() map[string]any {
	chosen := make([]map[string]string, 0, len(columns))
	for _, label := range columns {
		chosen = append(chosen, map[string]string{"label": label})
	}
	return map[string]any{
		"namespace-workflow-table-columns": map[string]any{namespace: chosen},
		"navOpen":                          false,
		"savedQueryNavOpen":                false, // the list of workflows needs the room
	}
}

// remember puts settings into the browser before any page runs.
func remember(settings map[string]any) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		entries, err := json.Marshal(settings)
		if err != nil {
			return chromedp.Void{}, err
		}
		script := fmt.Sprintf("for (const [key, value] of Object.entries(%s)) localStorage.setItem(key, JSON.stringify(value))", entries)
		_, err = cdp.Call(ctx, t, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
		return chromedp.Void{}, err
	}
}

// missing lists what keeps the page from being photographed: texts that neither it
// nor its frames show, and what still loads or moves.
const missing = `texts => {
	const frames = [...document.querySelectorAll('iframe')].map(frame => frame.contentDocument);
	const shown = [document, ...frames].map(d => d?.body?.innerText ?? '').join('\n');
	const lacks = texts.filter(text => !shown.includes(text)).map(text => 'the text ' + text);
	const ends = a => a.effect.getComputedTiming().endTime !== Infinity; // some icons never rest
	document.getAnimations().filter(a => a.playState === 'running' && ends(a)).forEach(a => lacks.push('the end of the animation of ' + a.effect.target.className));
	document.querySelectorAll('.animate-spin, .animate-pulse').forEach(e => lacks.push('the end of ' + e.className));
	[...document.images].filter(i => !i.complete).forEach(i => lacks.push('the image ' + i.src));
	if (document.fonts.status !== 'loaded') lacks.push('its fonts');
	return lacks;
}`

// painted waits until images are decoded and a frame with them is drawn. Icons that
// blink stop first, or chance would decide whether they are seen.
const painted = `document.getAnimations().forEach(a => a.cancel());
	Promise.all([...document.images].map(image => image.decode()))
	.then(() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true)))))`

// take photographs the page into the file path.
func (p picture) take(browser context.Context, s *scene, path string) error {
	address := s.ui + "/namespaces/" + namespace + "/" + p.page(s)
	texts := p.shows(s)
	err := chromedp.Do(browser, chromedp.EmulateViewport(width, p.height), chromedp.Navigate(address))
	if err != nil {
		return fmt.Errorf("open %s: %w", address, err)
	}
	rests := "texts => (" + missing + ")(texts).length === 0"
	if _, err := chromedp.Run(browser, chromedp.PollFunction[bool](rests, chromedp.WithPollingArgs(texts), chromedp.WithPollingTimeout(loadsIn))); err != nil {
		lacks, _ := chromedp.Run(browser, chromedp.PollFunction[[]string](missing, chromedp.WithPollingArgs(texts))) // empty where that fails too
		return fmt.Errorf("waited %s for %s: %w; it lacks %s", loadsIn, address, err, strings.Join(lacks, ", "))
	}
	if _, err := chromedp.Run(browser, chromedp.Evaluate[bool](painted, chromedp.EvalAwaitPromise)); err != nil {
		return fmt.Errorf("wait for the images of %s: %w", address, err)
	}
	shot, err := chromedp.Run(browser, chromedp.CaptureScreenshot())
	if err != nil {
		return fmt.Errorf("photograph %s: %w", address, err)
	}
	return save(path, shot)
}

// save writes a screenshot with a palette, which makes it several times smaller.
func save(path string, shot []byte) error {
	full, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return err
	}
	var small bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&small, quantise(full)); err != nil {
		return err
	}
	if small.Len() > mostBytes {
		return fmt.Errorf("%d bytes, more than the %d that a picture may have: give it less height", small.Len(), mostBytes)
	}
	return os.WriteFile(path, small.Bytes(), 0o644)
}
