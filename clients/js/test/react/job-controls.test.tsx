// @vitest-environment jsdom
import { act, cleanup, fireEvent, render, screen } from '@testing-library/react';
import { StrictMode } from 'react';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ProcessingWidget, RealtimeProvider, type ProcessingWidgetProps } from '../../src/react/index.js';
import { FakeClient } from './fake-client.js';

const CHANNEL = 'user-42';
const OVERWRITE = { id: 'overwrite', text: 'Overwrite the file?', choices: ['yes', 'no'] };
let client: FakeClient;
beforeEach(() => {
  client = new FakeClient();
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

function show(props: Partial<ProcessingWidgetProps> = {}): ReturnType<typeof render> {
  return render(
    <StrictMode>
      <RealtimeProvider client={client}>
        <ProcessingWidget userId={42} debug={false} badge={false} {...props} />
      </RealtimeProvider>
    </StrictMode>,
  );
}

function emit(event: string, data: object = {}, more: object = {}): void {
  const job = { job: 'a1', title: 'a1.mp3', ...data };
  act(() => void client.emit(CHANNEL, event, job, { key: `job-${job.job}`, attempt: 'A', ...more }));
}

function note(event: string, data: object = {}): void {
  act(() => void client.emit(CHANNEL, event, { job: 'a1', ...data }, { key: 'job-a1', fold: 'note' }));
}

function refuse(status: number | null, code: string | null, message = ''): void {
  client.answer = () => Promise.reject(Object.assign(new Error(message), { status, code }));
}

async function click(name: string): Promise<void> {
  await act(async () => void fireEvent.click(screen.getByRole('button', { name })));
}

const row = (): HTMLElement => document.querySelector<HTMLElement>('.rb-job')!;
const news = (): string | null => row().querySelector('[aria-live=polite]')!.textContent;
const requests = (): string[] => client.calls.filter((call) => /^(cancel|answer)/.test(call));

describe('cancel', () => {
  test('only a job that can be cancelled has the button, until its end', () => {
    show();
    emit('job.started');
    expect(screen.queryByRole('button')).toBeNull();
    for (const [event, data] of [['job.queued', {}], ['job.started', {}], ['job.asking', { question: OVERWRITE }], ['job.retrying', {}]] as const) {
      cleanup();
      client = new FakeClient();
      show();
      emit(event, { ...data, cancellable: true });
      expect(screen.getByRole('button', { name: 'Cancel a1.mp3' })).toBeTruthy();
    }
    emit('job.completed', { cancellable: true });
    expect(screen.queryByRole('button', { name: /Cancel/ })).toBeNull();
  });

  test('one click sends one request, and the focus stays in the row', async () => {
    show();
    emit('job.started', { cancellable: true });
    const button = screen.getByRole('button', { name: 'Cancel a1.mp3' });
    button.focus();
    await click('Cancel a1.mp3');
    expect(button.textContent).toBe('Cancelling …');
    expect(button.getAttribute('aria-disabled')).toBe('true');
    expect(news()).toBe('Cancelling …');
    await click('Cancelling … a1.mp3');
    expect(requests()).toEqual(['cancel user-42 a1']);
    expect(document.activeElement).toBe(button);
    emit('job.cancelled', { by: '42', cancellable: true }, { fold: 'end' });
    expect(document.activeElement).toBe(row());
  });

  test('request of another page is shown, and after 15 s that its worker is silent', () => {
    vi.useFakeTimers();
    show();
    emit('job.started', { cancellable: true });
    note('job.cancelling', { by: '43' });
    expect(screen.getByRole('button', { name: 'Cancelling … a1.mp3' }).getAttribute('aria-disabled')).toBe('true');
    act(() => void vi.advanceTimersByTime(14_900));
    expect(news()).toBe('Cancelling …');
    act(() => void vi.advanceTimersByTime(200));
    expect(news()).toBe('Its worker has not answered yet.');
    emit('job.completed', { cancellable: true });
    expect(news()).toBe('');
  });

  test('new run can be cancelled again', async () => {
    show();
    emit('job.started', { cancellable: true });
    await click('Cancel a1.mp3');
    emit('job.started', { cancellable: true }, { attempt: 'B' });
    expect(screen.getByRole('button', { name: 'Cancel a1.mp3' })).toBeTruthy();
  });

  test.each([
    [403, 'may_not_control', 'You may not cancel this.'],
    [404, 'unknown_job', 'This job is not known any more.'],
    [409, 'not_cancellable', 'This job cannot be cancelled.'],
    [409, 'ended', 'It had already ended.'],
    [500, null, 'The rule failed'],
    [null, null, 'The server did not answer: try again.'],
  ])('refusal %s %s is shown in words', async (status, code, words) => {
    show();
    emit('job.started', { cancellable: true });
    refuse(status, code, status === 500 ? 'The rule failed' : '');
    await click('Cancel a1.mp3');
    expect(news()).toBe(words);
    expect(screen.getByRole('button', { name: 'Cancel a1.mp3' }).getAttribute('aria-disabled')).toBe('false');
  });

  test('refusal names the end, once its event is there', async () => {
    show();
    emit('job.started', { cancellable: true });
    refuse(409, 'ended');
    await click('Cancel a1.mp3');
    emit('job.completed', { cancellable: true });
    expect(news()).toBe('It had already completed.');
  });

  test.each([['42', 'by you'], ['ann', 'by ann']])('job that %s cancelled shows it', (by, words) => {
    show();
    emit('job.cancelled', { by });
    expect(row().querySelector('.rb-job-doing')!.textContent).toBe(words);
  });
});

describe('question', () => {
  test('each choice is a button, and an answer turns all off until the job goes on', async () => {
    show();
    emit('job.asking', { question: OVERWRITE });
    expect(news()).toBe('Overwrite the file?');
    expect(screen.getByRole('group', { name: 'Overwrite the file?' })).toBeTruthy();
    screen.getByRole('button', { name: 'yes' }).focus();
    await click('yes');
    await click('no');
    expect(requests()).toEqual(['answer user-42 a1 overwrite "yes"']);
    note('job.answered', { question: 'overwrite', value: 'yes' });
    expect(screen.queryByRole('group')).toBeNull();
    expect(news()).toBe('');
    expect(document.activeElement).toBe(row());
  });

  test('question without choices has a text field', async () => {
    show();
    emit('job.asking', { question: { ...OVERWRITE, text: 'Which name?', choices: null } });
    const field = screen.getByRole('textbox', { name: 'Which name?' });
    await act(async () => void fireEvent.submit(field));
    expect(requests()).toEqual([]);
    fireEvent.change(field, { target: { value: 'b.mp3' } });
    await act(async () => void fireEvent.submit(field));
    expect(requests()).toEqual(['answer user-42 a1 overwrite "b.mp3"']);
  });

  test.each([
    [403, 'may_not_control', 'You may not answer this.'],
    [409, 'answered', 'It had already been answered.'],
    [409, 'no_question', 'It does not wait for this answer any more.'],
    [400, 'not_a_choice', 'This is none of the choices.'],
  ])('refusal %i %s is shown in words, and the buttons work again', async (status, code, words) => {
    show();
    emit('job.asking', { question: OVERWRITE });
    refuse(status, code);
    await click('yes');
    expect(news()).toBe(`Overwrite the file?${words}`);
    await click('no');
    expect(requests()).toHaveLength(2);
  });

  test('summary counts the questions', () => {
    show();
    emit('job.asking', { question: OVERWRITE });
    expect(document.querySelector('.rb-summary')!.textContent).toBe('1 needs an answer');
    emit('job.asking', { job: 'a2', question: OVERWRITE });
    expect(document.querySelector('.rb-summary')!.textContent).toBe('2 need an answer');
  });

  test('next question of the run has its own answer', async () => {
    show();
    emit('job.asking', { question: OVERWRITE });
    await click('yes');
    emit('job.asking', { question: { ...OVERWRITE, id: 'sure', text: 'Sure?' } });
    await click('no');
    expect(requests().at(-1)).toBe('answer user-42 a1 sure "no"');
  });
});

describe('lost job', () => {
  test('progress and question stay, and there is no notice', () => {
    show();
    emit('job.progress', { percent: 40 });
    emit('job.asking', { percent: 40, question: OVERWRITE });
    const at = Date.now();
    emit('job.lost', { state: 'lost' }, { fold: 'lapse', time: at });
    expect(row().dataset['state']).toBe('lost');
    expect(screen.getByRole('progressbar').getAttribute('aria-valuetext')).toBe('No contact · 40 %');
    const moment = new Date(at).toLocaleString([], { timeStyle: 'short' });
    expect(news()).toBe(`No sign of life since ${moment}. It may come back.Overwrite the file?`);
    expect(screen.queryByRole('button')).toBeNull();
    expect(document.querySelector('.rb-notice')).toBeNull();
    emit('job.progress', { percent: 41 });
    expect(news()).toBe('');
  });
});

test('lost job can be cancelled, although its event does not repeat that', async () => {
  show();
  emit('job.started', { cancellable: true });
  emit('job.lost', { state: 'lost' }, { fold: 'lapse' });
  await click('Cancel a1.mp3');
  expect(requests()).toEqual(['cancel user-42 a1']);
});

describe('result and log lines', () => {
  test('button gives the result of a completed job to the page', async () => {
    const onResult = vi.fn();
    show({ onResult });
    emit('job.completed', { result: null });
    expect(screen.queryByRole('button', { name: /result/ })).toBeNull();
    emit('job.started', {}, { attempt: 'B' });
    emit('job.completed', { result: { url: '/a1' } }, { attempt: 'B' });
    await click('Show the result a1.mp3');
    expect(onResult).toHaveBeenCalledExactlyOnceWith({ url: '/a1' }, expect.objectContaining({ id: 'a1' }));
  });

  test('log lines are read while they are shown', () => {
    show({ logs: true });
    emit('job.started');
    const before = client.live.length;
    const details = document.querySelector<HTMLDetailsElement>('.rb-log')!;
    const toggle = (open: boolean): void => {
      details.open = open;
      fireEvent(details, new Event('toggle'));
    };
    toggle(true);
    expect(client.live).toHaveLength(before + 1);
    expect(details.textContent).toContain('No lines yet.');
    toggle(false);
    expect(client.live).toHaveLength(before);
  });
});

describe('parts of a job', () => {
  const part = (event: string, job: string, data: object = {}): void => emit(event, { job, title: `part ${job}`, parent: 'a1', ...data });

  test('parts are inside their job, whose progress is their mean', () => {
    show();
    part('job.progress', 'p1', { percent: 50 });
    emit('job.started');
    part('job.completed', 'p2');
    part('job.queued', 'p3');
    expect([...document.querySelectorAll('.rb-widget > .rb-jobs > .rb-job')].map((top) => top.getAttribute('data-job'))).toEqual(['a1']);
    expect(document.querySelectorAll('.rb-parts .rb-job')).toHaveLength(3);
    expect(screen.getByRole('progressbar', { name: 'a1.mp3' }).getAttribute('aria-valuenow')).toBe('50');
    expect(document.querySelector('.rb-summary')!.textContent).toBe('1 running');
    emit('job.progress', { percent: 10 });
    expect(screen.getByRole('progressbar', { name: 'a1.mp3' }).getAttribute('aria-valuenow')).toBe('10');
  });

  test('completed part leads to no notice, failed part does', () => {
    show();
    emit('job.started');
    part('job.completed', 'p1');
    expect(document.querySelector('.rb-notice')).toBeNull();
    part('job.failed', 'p2');
    expect(document.querySelectorAll('.rb-notice')).toHaveLength(1);
  });

  test('jobs that name each other or themselves are all at the top', () => {
    show();
    emit('job.started', { job: 'x', parent: 'y' });
    emit('job.started', { job: 'y', parent: 'x' });
    emit('job.started', { job: 'z', parent: 'z' });
    expect(document.querySelectorAll('.rb-job')).toHaveLength(3);
    expect(document.querySelector('.rb-parts')).toBeNull();
  });
});
