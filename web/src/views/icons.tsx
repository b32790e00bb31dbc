/** The icons of the controls: drawn on a 24 grid, in the colour of the text. */
const PATHS = {
  camera: 'M4 7h10a2 2 0 0 1 2 2v6a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V9a2 2 0 0 1 2-2zM16 11l6-3.5v9L16 13',
  lamp: 'M12 3a6 6 0 0 1 3.5 10.9c-.6.5-.9 1.1-.9 1.8V17H9.4v-1.3c0-.7-.3-1.3-.9-1.8A6 6 0 0 1 12 3zM9.5 20.5h5',
  grid: 'M4 4h6.5v6.5H4zM13.5 4H20v6.5h-6.5zM4 13.5h6.5V20H4zM13.5 13.5H20V20h-6.5z',
  screen: 'M3 5h18v12H3zM8 20.5h8',
  sound: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4 4 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11',
  muted: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM16 9.5l5 5M21 9.5l-5 5',
  full: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5',
  unfull: 'M9 4v5H4M20 9h-5V4M15 20v-5h5M4 15h5v5',
  share: 'M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h2.5v2.5H14zM17.5 17.5H20V20h-2.5z',
  info: 'M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17zM12 11v5.5M12 7.5v.2',
  vibrate: 'M8.5 4h7v16h-7zM5 8.5v7M19 8.5v7M2.5 10.5v3M21.5 10.5v3',
  still: 'M8.5 4h7v16h-7z',
  close: 'M6 6l12 12M18 6L6 18',
  play: 'M8 5.5v13l11-6.5z',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** A control: an icon with its name, which small screens show to screen readers only. */
export function Control(props: {
  icon: IconName;
  label: string;
  onClick: () => void;
  pressed?: boolean;
  disabled?: boolean;
  id?: string;
}) {
  return (
    <button
      type="button"
      class="control"
      id={props.id}
      title={props.label}
      aria-label={props.label}
      aria-pressed={props.pressed}
      disabled={props.disabled}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
    </button>
  );
}
